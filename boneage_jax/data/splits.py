"""Which films train, validate and test."""

import collections
from collections.abc import Mapping
import hashlib

import numpy as np

from boneage_jax.core import ids as ids_lib

SPLITS = ('train', 'validation', 'test')
WAYS = ('auto', 'official', 'hash', 'chen500')
HELD_OUT = ('test', 'validation')  # never mixed; the order of every table
UNUSED = 'unused'
# Chen 2020, authors' code: 500 test and 500 validation of the training films.
CHEN_FILMS, CHEN_OF = 500, 12611


def assign(
  films: Mapping[str, np.ndarray],
  split: str = 'auto',
  validation_fraction: float = 0.1,
  test_fraction: float = 0.15,
) -> tuple[np.ndarray, str]:
  """Say which films train, validate and test.

  Args:
    films: columns id and split, and study where hands have several films.
    split: 'official' is the archive's; 'hash' pools its films and draws by
      the SHA-256 of the study (else of the id), so a film never moves when
      others come or go, and the films of a hand stay together; 'chen500'
      draws from the archive's training films alone, see `chen500`; 'auto'
      keeps the archive's own validation and test films, and draws as 'hash'
      does what it lacks, from its training films.
    validation_fraction: of the films that are drawn from.
    test_fraction: of the films that are drawn from.

  Returns:
    the name of the split per film, and a line that describes the choice.
  """
  if split not in WAYS:
    raise ValueError(
      f"Expected split 'auto', 'official', 'hash' or 'chen500', got {split!r}"
    )
  own = [name for name in SPLITS if name in films['split']]
  missing = [name for name in SPLITS if name not in own]
  if split == 'official' and missing:
    raise ValueError(
      f'the archive has no {" and no ".join(missing)} films, only '
      f'{sorted(own)}; split by id with --config.data.split=hash'
    )
  if split == 'auto' and 'train' in missing:
    raise ValueError(
      f'the archive has no training films, only {" and ".join(own)} films, '
      'which are never trained on; add films to train on, or pool all with '
      '--config.data.split=hash'
    )
  studies = films.get('study', films['id']).tolist()
  if split == 'official' or (split == 'auto' and not missing):
    names = films['split'].copy()
    description = f'official split of {len(names)} films: {_sizes(names)}'
  elif split == 'chen500':
    names, description = chen500(films)
  else:
    train_fraction = 1 - validation_fraction - test_fraction
    if min(validation_fraction, test_fraction) < 0 or train_fraction <= 0:
      raise ValueError(
        'Expected validation_fraction and test_fraction >= 0 with a sum '
        f'below 1, got {validation_fraction} and {test_fraction}'
      )
    draws = np.array([_fraction(study) for study in studies])
    bounds = [test_fraction, test_fraction + validation_fraction]
    order = np.array(['test', 'validation', 'train'])
    drawn = order[np.searchsorted(bounds, draws, side='right')]
    by = 'id' if studies == films['id'].tolist() else 'group'
    held_out = [name for name in own if name != 'train']
    if split == 'auto' and held_out:
      names = np.where(
        films['split'] != 'train',
        films['split'],
        np.where(np.isin(drawn, missing), drawn, 'train'),
      )
      description = (
        f"the archive's own {' and '.join(held_out)} films, "
        f'{" and ".join(missing)} drawn from its training films by {by}; '
        f'of {len(names)} films {_sizes(names)}'
      )
    else:
      names = drawn
      description = f'hash split of {len(names)} films by {by}: {_sizes(names)}'
      if held_out:
        pooled = ' and '.join(held_out)
        description += f", the archive's own {pooled} films among them"
  pairs = set(zip(studies, names.tolist(), strict=True))
  homes = collections.Counter(study for study, _ in pairs)
  shared = sorted(
    (study for study, splits in homes.items() if splits > 1),
    key=ids_lib.sort_key,
  )
  if shared:
    raise ValueError(
      f'Expected every group in one split, got {len(shared)} in two or more, '
      f'such as {shared[:5]}; use --config.data.split=hash'
    )
  return names, description


def chen500(films: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
  """Hold 500 films for test and 500 for validation out of the training films.

  As the authors' code of Chen 2020 does, whose figures are of such films;
  theirs were shuffled by NumPy, ours are those with the smallest hashes of
  their study. An archive of fewer than 12,611 training films gives the same
  share of its own, rounded.

  Args:
    films: columns id and split, and study where hands have several films.

  Returns:
    the name of the split per film, 'unused' for films that the archive does not
    train on, and a line that describes the choice.

  Raises:
    ValueError: fewer training films than give one film each.
  """
  given = films['split'] == 'train'
  studies = films.get('study', films['id'])
  hands = sorted(
    set(studies[given].tolist()), key=lambda hand: _fraction(f'chen500 {hand}')
  )
  count = min(CHEN_FILMS, round(CHEN_FILMS * len(hands) / CHEN_OF))
  if not count:
    raise ValueError(
      f'the split chen500 takes {CHEN_FILMS} of {CHEN_OF} training films for '
      f'test and as many for validation, which is none of {len(hands)}; use '
      '--config.data.split=hash'
    )
  names = np.where(given, 'train', UNUSED).astype('<U10')
  names[given & np.isin(studies, hands[:count])] = 'test'
  names[given & np.isin(studies, hands[count : 2 * count])] = 'validation'
  description = (
    f'split of Chen 2020 of {np.sum(given)} training films: {_sizes(names)}'
  )
  if count < CHEN_FILMS:
    description += f', {count} in place of {CHEN_FILMS}'
  return names, description


def fold(
  films: Mapping[str, np.ndarray], names: np.ndarray, count: int, index: int
) -> np.ndarray:
  """Deal the films that are not for test into folds, of which one validates.

  Args:
    films: columns id and, where hands have several films, study: folds are
      drawn by another hash of these than splits are.
    names: of `assign`; its test films stay what they are.
    count: of folds.
    index: of the fold that validates, from 0, while the others train; -1 for
      what all folds together predict: every film validates.
  """
  if count < 2 or not -1 <= index < count:
    raise ValueError(
      'Expected two folds or more, and a fold from 0 to one less than these '
      f'(or -1 for all of them), got data.folds={count} and data.fold={index}'
    )
  studies = films.get('study', films['id']).tolist()
  draws = [int(count * _fraction(f'fold {study}')) for study in studies]
  validates = (np.array(draws) == index) | (index < 0)
  others = np.where(validates, 'validation', 'train')
  return np.where(np.isin(names, ('train', 'validation')), others, names)


def few_per_class(
  films: Mapping[str, np.ndarray], count: int, seed: int
) -> np.ndarray:
  """Choose `count` films of each class by a hash of seed and id.

  Args:
    films: columns id and label; a label below 0 is none.
    count: of each class; a class with fewer keeps all. More films are a
      superset of fewer of the same seed.
    seed: another seed chooses others.

  Returns:
    bool [N], the chosen films.
  """
  draws = [_fraction(f'{seed} {film}') for film in films['id'].tolist()]
  order = np.argsort(draws)
  keep = np.zeros(len(order), bool)
  for label in set(films['label'].tolist()):
    if label >= 0:
      keep[order[films['label'][order] == label][:count]] = True
  return keep


def some(ids: np.ndarray, count: int | None = None) -> np.ndarray:
  """Return the positions, in order, of `count` films by a hash of the id.

  Fewer films are a subset of more, in every table that holds them; None: all.

  Raises:
    ValueError: a count below 1.
  """
  if count is not None and count < 1:
    raise ValueError(f'Expected --films to be 1 or more, got {count}')
  draws = [_fraction(f'some {film}') for film in ids.tolist()]
  return np.sort(np.argsort(draws, kind='stable')[:count])


def shuffled(ids: np.ndarray, seed: int) -> np.ndarray:
  """Return the positions of films in an order that seed and ids draw.

  A film's place among others stays when films come or go.
  """
  draws = [_fraction(f'shuffled {seed} {film}') for film in ids.tolist()]
  return np.argsort(draws, kind='stable')


def _sizes(names: np.ndarray) -> str:
  """Say how many films each of SPLITS has."""
  return ', '.join(f'{np.sum(names == name)} {name}' for name in SPLITS)


def _fraction(key: str) -> float:
  digest = hashlib.sha256(key.encode()).digest()
  return int.from_bytes(digest[:8], 'big') / 2**64
