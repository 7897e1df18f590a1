"""Fit the quality checks of a run: scores on planted faults, limits on clean.

Each score of a check is a ridge regression that tells films of the run's
training split from the same films with one planted fault. Those that refuse
learn that films with a fault of a lesser kind are none of their own. Limits
come from clean films that no check learned, those for validation and, where
these are few, more of training: at most 1 % are refused, a quarter of that by
each of the four checks that refuse, and at most 5 % get any other flag. As few
are refused where each of these films has a fault of a lesser kind.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import os
from typing import Any

import numpy as np
import tqdm

from boneage_jax.core import ids
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.evaluation import quality_answers
from boneage_jax.evaluation import quality_films
from boneage_jax.imaging import descriptor
from boneage_jax.inference import loading
from boneage_jax.inference import quality
from boneage_jax.inference import quality_checks
from boneage_jax.phantom import faults
from boneage_jax.runs import run as run_lib

# The faults that a check learns.
FAULTS = {
  'not_a_hand': ('not_a_hand',),
  'two_hands': ('two_hands',),
  'blank': ('blank', 'saturated'),
  'half_hand': ('half_left', 'half_right', 'half_top', 'half_bottom'),
  'wrist_cut': ('cut_wrist',),
  'tips_cut': ('cut_tips',),
  'rotated': ('rotated',),
  'mirrored': ('mirrored',),
  'noise': ('noise',),
  'jpeg': ('jpeg',),
  'metal': ('metal',),
  'cast': ('cast',),
}
# Faults that no check of ours learns; those that refuse must let them pass.
OTHERS = ('inverted', 'few_pixels', 'blurred')
LESSER = (
  *(
    name
    for kind in FAULTS
    if kind not in quality.REFUSING
    for name in FAULTS[kind]
  ),
  *OTHERS,
)
FILMS = 300  # of training; each has every fault
LEAST = 20  # of validation
CLEAN = 1000  # films that limits come from, if there are as many
RIDGE = 3.0
REFUSED, CHECKED = 0.01, 0.05  # shares of clean films, at most


def fit(
  run: run_lib.Run, excluded: Collection[str] = (), films: int = FILMS
) -> tuple[quality_checks.Checks, dict[str, Any]]:
  """Fit the checks of a run.

  Args:
    run: of a config, with its prepared data.
    excluded: ids of validation films that are not clean.
    films: of training, at most.

  Returns:
    The checks, and what `quality.json` says of them: `films` of training,
    `clean` of validation and `more` of training for limits, `checks` (of each:
    its limits, over, the clean films above one, and whether these are the
    largest values seen), `refused` and `checked`, shares of clean films,
    `lesser_refused`, that of films with a lesser fault, `notes`.

  Raises:
    ValueError: no prepared data, or fewer than LEAST validation films.
  """
  source = quality_films.Films(run)
  names, clean = source.of('validation', 0, excluded)
  if len(names) < LEAST:
    raise ValueError(
      f'Expected {LEAST} clean validation films or more to fit quality checks '
      f'on, got {len(names)} of {run.name}: run it anew with a larger '
      '--config.data.validation_fraction.'
    )
  fitted, plain = source.of('train', films)
  weights, offsets = _scores(source, fitted, plain)
  own = tuple(kind for kind, planted in FAULTS.items() for _ in planted)
  nets = loading.load(
    source.workdir, os.path.basename(run.folder), quality_answers.BATCH
  )
  seen = quality_answers.answers(nets, plain, source.known(fitted))
  usual = None
  if len(seen.get('embedding', ())) > 1:
    usual = quality_checks.fit_usual(seen['embedding'])
  checks = quality_checks.Checks(own, weights, offsets, np.zeros(len(own)))
  rows, lesser, fixed = [], [], []
  more, others = source.of(
    'train', max(CLEAN - len(names), 1), {*fitted, *excluded}
  )
  pairs = zip([*names, *more], itertools.chain(clean, others), strict=True)
  for k, (name, film) in enumerate(pairs):
    rows.append(descriptor.describe(film))
    fixed.append(bool(quality.flags(film, source.size)))
    changed = faults.plant(LESSER[k % len(LESSER)], film, seed(name))
    lesser.append(descriptor.describe(source.fitted(changed)))
  known = source.known([*names, *more])
  of_clean = itertools.chain(clean, others)
  found = quality_checks.answers(
    usual, quality_answers.answers(nets, of_clean, known)
  )
  kinds = np.array([*own, *found])
  refuse = np.isin(kinds, quality.REFUSING)
  scores = np.column_stack([checks.scores(np.stack(rows)), *found.values()])
  lesser = checks.scores(np.stack(lesser))[:, refuse[: len(own)]]
  fixed = np.array(fixed)
  limits, notes = fit_limits(kinds, scores, fixed, lesser)
  over = scores > limits
  refused = over[:, refuse].any(1)
  said = {
    'run': run.name,
    'films': len(fitted),
    'clean': len(names),
    'more': len(more),
    'excluded': sorted(excluded),
    'refused': float(refused.mean()),
    'checked': float(((over[:, ~refuse].any(1) | fixed) & ~refused).mean()),
    'lesser_refused': float((lesser > limits[refuse]).any(1).mean()),
    'checks': {
      kind: {
        'limits': limits[kinds == kind].tolist(),
        'over': int(over[:, kinds == kind].any(1).sum()),
        'largest_seen': bool(not over[:, kinds == kind].any()),
      }
      for kind in dict.fromkeys(kinds.tolist())
    },
    'notes': notes,
  }
  count = len(own)
  of_nets = dict(zip(found, limits[count:].tolist(), strict=True))
  return (
    checks._replace(limits=limits[:count], usual=usual, answer_limits=of_nets),
    said,
  )


def fit_limits(
  kinds: Sequence[str],
  scores: np.ndarray,
  fixed: np.ndarray,
  lesser: np.ndarray,
) -> tuple[np.ndarray, list[str]]:
  """Choose limits by scores [N, scores] of clean films.

  Args:
    kinds: of each score the name of its check.
    scores: larger is worse.
    fixed: bool [N], films that a check without a limit of ours flags.
    lesser: scores [M, those that refuse] of films with a fault that should not
      refuse.

  Returns:
    Limits [scores]: REFUSED of the clean films are above any of those that
    refuse, and of these with the lesser ones together, in equal parts by check
    and by score; CHECKED of the clean ones above any other, or fixed. And what
    the number of films does not support.
  """
  count, notes = len(scores), []
  worst_first = -np.sort(-scores, axis=0)
  refuse = np.isin(kinds, quality.REFUSING)
  limits = worst_first[0].copy()
  for column, k in enumerate(np.flatnonzero(refuse)):
    part = REFUSED / len(quality.REFUSING) / list(kinds).count(kinds[k])
    both = np.append(scores[:, k], lesser[:, column])
    limits[k] = max(
      np.sort(values)[-1 - int(len(values) * part)]
      for values in (scores[:, k], both)
    )
  if not int(count * REFUSED / len(quality.REFUSING)):
    least = round(len(quality.REFUSING) / REFUSED)
    notes.append(
      f'{count} films do not support a limit that refuses '
      f'{100 * REFUSED / len(quality.REFUSING):g} % ({least} would): the '
      'largest value seen is taken.'
    )
  refused = (scores > limits)[:, refuse].any(1)
  most = int(count * CHECKED)
  for rank in range(most, -1, -1):
    trial = worst_first[rank]
    flagged = (scores > trial)[:, ~refuse].any(1) | fixed
    if np.sum(flagged & ~refused) <= most:
      break
  limits[~refuse] = trial[~refuse]
  if not rank:
    notes.append(
      f'{count} films, {int(fixed.sum())} of them flagged by checks without a '
      f'limit, do not support limits that flag {100 * CHECKED:g} %: the '
      'largest values seen are taken.'
    )
  return limits, notes


def write(
  folder: str, checks: quality_checks.Checks, said: Mapping[str, Any]
) -> None:
  """Write quality.npz and quality.json to the folder of a stage."""
  quality_checks.save(folder, checks)
  storage.write_json(os.path.join(folder, stages.QUALITY_JSON), said, indent=1)


def sentence(said: Mapping[str, Any]) -> str:
  """Say what `fit` found."""
  head = (
    f'Quality checks fitted on {said["films"]} training films with planted '
    f'faults; limits from {said["clean"]} clean validation films and '
    f'{said["more"]} more training films: '
    f'{100 * said["refused"]:.1f} % of these are refused, '
    f'{100 * said["checked"]:.1f} % are to be checked. With a lesser fault, '
    f'{100 * said["lesser_refused"]:.1f} % are refused.'
  )
  return ' '.join([head, *said['notes']])


def seed(film: str) -> int:
  """Return the number that a film's faults are drawn by."""
  return ids.number(film)


def _scores(
  source: quality_films.Films, names: Sequence[str], films: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
  """Fit weights [scores, N] and offsets [scores], in the order of FAULTS."""
  learned = [name for planted in FAULTS.values() for name in planted]
  plain, bad = [], {name: [] for name in (*learned, *OTHERS)}
  bar = tqdm.tqdm(
    zip(names, films, strict=True),
    total=len(names),
    desc='quality checks',
    unit='film',
    disable=None,
  )
  for name, film in bar:
    hand = faults.find_hand(film)
    plain.append(descriptor.describe(film))
    for fault, rows in bad.items():
      changed = faults.plant(fault, film, seed(name), hand)
      rows.append(descriptor.describe(source.fitted(changed)))
  plain = np.stack(plain).astype(np.float64)
  bad = {fault: np.stack(rows) for fault, rows in bad.items()}
  lesser = np.concatenate([bad[fault] for fault in LESSER])
  found = [
    _ridge(plain, bad[fault], plain[:0] if fault in LESSER else lesser)
    for fault in learned
  ]
  weights, offsets = zip(*found, strict=True)
  return np.stack(weights), np.array(offsets)


def _ridge(
  plain: np.ndarray, bad: np.ndarray, lesser: np.ndarray
) -> tuple[np.ndarray, float]:
  """Return weights [N] and offset that give plain and lesser rows 0, bad 1.

  All rows of a kind together weigh as much as those of another.
  """
  rows = np.concatenate([plain, bad, lesser])
  counts = [len(plain), len(bad), len(lesser)]
  wanted = np.repeat([0.0, 1.0, 0.0], counts)
  weigh = np.repeat([len(plain) / max(n, 1) for n in counts], counts)
  share = weigh / weigh.sum()
  mean, middle = share @ rows, share @ wanted
  centred = rows - mean
  kernel = centred @ centred.T + np.diag(RIDGE / weigh)
  weights = centred.T @ np.linalg.solve(kernel, wanted - middle)
  return weights, float(middle - mean @ weights)
