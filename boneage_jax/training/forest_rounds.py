"""The `forest_rounds` job: how well forests find landmarks (Chirawu 2022).

In each round some of the marked films, drawn at random, train a forest and
others judge it. This only measures: no stage reads these forests. Each round is
kept, so that a killed job goes on.
"""

from collections.abc import Mapping
import time
from typing import Any

import numpy as np
import tqdm

from boneage_jax.core import stages
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.models import forest as forest_lib
from boneage_jax.training import fit_forest
from boneage_jax.training import landmarks as landmarks_lib

OUTLIER = 10.0  # % of the hand's length
COLUMNS = ('round', 'id', 'landmark', 'weighting', 'passes')
COLUMNS += ('error_percent', 'error_px')


def forest_rounds(config: Any, stage: str, workdir: str) -> None:
  """Fit and judge forests on films drawn anew in each round."""
  section, path = config[stage], stages.Stage(config, stage, workdir).path
  storage.make_folder(stages.path(workdir, stage))
  marked = landmarks_lib.read(config, stage, workdir)
  needed = section.train_films + section.test_films
  if len(marked.points) < needed:
    raise ValueError(
      f'{stage}: expected {needed} films with landmarks, got '
      f'{len(marked.points)}: lower --config.{stage}.train_films and '
      '.test_films.'
    )
  rows, started = [], time.monotonic()
  for number in tqdm.trange(section.rounds, desc=stage, disable=None):
    kept = path(f'round_{number}.csv')
    if not storage.exists(kept):
      _write(kept, one_round(marked, section, [config.seed, number]))
    with storage.reading(kept) as file:
      rows += tables.read_dicts(file, kept, COLUMNS)
  _write(path(stages.ROUNDS), rows)
  figures = summarize(rows)
  storage.write_json(path(stages.ROUNDS_JSON), figures, indent=1)
  print(_lines(figures))
  done = {'films': len(marked.points), 'rounds': section.rounds}
  storage.write_json(path(stages.DONE), done, indent=2)
  print(f'{stage}: {(time.monotonic() - started) / 60:.1f} minutes')


def draw(
  films: Mapping[str, np.ndarray],
  train: int,
  test: int,
  rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
  """Draw films to train on and films that judge.

  Films of one hand, of one `study`, do not stand on both sides: those that
  judge are of other hands than those that train, and fewer where so few are
  left.

  Args:
    films: columns id, and study where hands have several films.
    train, test: numbers of films.
    rng: draws hands.

  Returns:
    Their positions, in order.

  Raises:
    ValueError: no film is of another hand.
  """
  hands = dict.fromkeys(films.get('study', films['id']).tolist())
  place = {hand: k for k, hand in enumerate(hands)}
  of = np.array([place[h] for h in films.get('study', films['id']).tolist()])
  order = np.concatenate(
    [np.flatnonzero(of == hand) for hand in rng.permutation(len(hands))]
  )
  first = order[:train]
  others = order[~np.isin(of[order], of[first])]
  if not len(others):
    raise ValueError(
      f'Expected films of other hands than those of the {train} that train, '
      'got none to judge: some hands have many films. Lower train_films.'
    )
  return np.sort(first), np.sort(others[-test:])


def one_round(
  marked: landmarks_lib.Marked, section: Any, seed: list[int]
) -> list[dict[str, Any]]:
  """Draw films, fit a forest to some and judge it by the others."""
  rng = np.random.default_rng([*seed, section.seed])
  train, test = draw(marked.films, section.train_films, section.test_films, rng)
  train, test = marked.select(train), marked.select(test)
  finder, _ = fit_forest.fit(train, section, [*seed, section.seed])
  kind, rows = section.landmarks, []
  for weighting in forest_lib.WEIGHTINGS:
    found = [finder(image, weighting)['points'] for image in test.images]
    for k in range(section.votes.passes):
      both = landmarks_lib.percent_of_hand(np.stack(found)[:, k], test, kind)
      for film, percents, pixels in zip(test.films['id'], *both, strict=True):
        rows += [
          dict(
            round=seed[-1],
            id=film,
            landmark=name,
            weighting=weighting,
            passes=k + 1,
            error_percent=f'{percent:.4f}',
            error_px=f'{pixel:.4f}',
          )
          for name, percent, pixel in zip(
            landmarks_lib.LANDMARKS[kind], percents, pixels, strict=True
          )
        ]
  return rows


def _write(path: str, rows: list[dict[str, Any]]) -> None:
  with storage.replacing(path) as file:
    tables.write_dicts(file, rows, COLUMNS)


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
  """Return figures of all rounds, by weighting and passes.

  Args:
    rows: of rounds.csv.

  Returns:
    '<weighting>, pass <k>' -> `all`, and each landmark -> mean, median, share
    beyond OUTLIER (all of the errors in % of the hand) and, for all, the most
    outliers on one film. Each is [mean over rounds, and the percentiles 2.5
    and 97.5 of rounds]: rounds share films, so these say how rounds vary, not
    how sure the mean is.
  """
  error = np.array([float(row['error_percent']) for row in rows])
  column = {name: np.array([row[name] for row in rows]) for name in COLUMNS[:5]}
  numbers, figures = sorted(set(column['round'].tolist())), {}
  for weighting in forest_lib.WEIGHTINGS:
    for passes in sorted(set(column['passes'].astype(str).tolist())):
      of = (column['weighting'] == weighting) & (
        column['passes'].astype(str) == passes
      )
      named = {}
      for name in ('all', *dict.fromkeys(column['landmark'].tolist())):
        keep = of & ((column['landmark'] == name) | (name == 'all'))
        parts = [keep & (column['round'] == number) for number in numbers]
        named[name] = _figures([error[part] for part in parts])
        if name == 'all':
          most = [_most(error[p], column['id'][p]) for p in parts]
          named[name]['most_outliers_on_a_film'] = _over_rounds(most)
      figures[f'{weighting}, pass {passes}'] = named
  return figures


def _figures(rounds: list[np.ndarray]) -> dict[str, list[float]]:
  return {
    'mean': _over_rounds([one.mean() for one in rounds]),
    'median': _over_rounds([np.median(one) for one in rounds]),
    'outliers': _over_rounds([(one > OUTLIER).mean() for one in rounds]),
  }


def _over_rounds(values: list[float]) -> list[float]:
  ends = statistics.interval95(np.array(values))
  return [round(float(v), 5) for v in (np.mean(values), *ends)]


def _most(error: np.ndarray, film: np.ndarray) -> int:
  """Return the most outliers that one film has."""
  _, films = np.unique(film, return_inverse=True)
  return int(np.bincount(films, error > OUTLIER).max())


def _lines(figures: dict[str, Any]) -> str:
  """Say what all landmarks together come to."""
  text = lambda ends, scale=1: '{:.2f} ({:.2f} to {:.2f})'.format(
    *(scale * end for end in ends)
  )
  return '\n'.join(
    f'{name}: mean {text(of["all"]["mean"])} % of the hand, median '
    f'{text(of["all"]["median"])}, beyond {OUTLIER:.0f} % '
    f'{text(of["all"]["outliers"], 100)} %, at most '
    f'{of["all"]["most_outliers_on_a_film"][0]:.1f} on one film'
    for name, of in figures.items()
  )
