"""Weights of the members of an ensemble, fitted on validation films alone."""

import numpy as np

from boneage_jax.core import stages
from boneage_jax.data import groups
from boneage_jax.data import splits
from boneage_jax.training import validate

WEIGHTS = ('mean', 'mae', 'mse')
FIT = 'validation'
PARTS = 5  # of the films that weights are fitted on
# Of each sex, above which nets of one sex get weights for each sex; ours.
SEX_FILMS = 200


def fit_weights(error: np.ndarray, loss: str = 'mae') -> np.ndarray:
  """Return weights that minimise the loss of the combined error.

  As weights sum to 1, the error of the combination is that of the members
  combined. Both optima are exact. Where others are as good, a corner is
  returned, always the same: of two equal members one has the weight of both.

  Args:
    error: of each member, months, [M, N].
    loss: 'mae' or 'mse'.

  Returns:
    [M], none negative, of sum 1.
  """
  if loss == 'mae':
    return _least_absolute(error)
  if loss == 'mse':
    return _least_squares(error)
  raise ValueError(f"Expected the loss 'mae' or 'mse', got {loss!r}.")


def _least_absolute(error: np.ndarray) -> np.ndarray:
  """Solve the linear program min_w sum |w @ error|.

  As its dual: max v with v <= error @ y for each member and |y| <= 1 for each
  film. It has a row a member in place of one a film (27 times faster with 8
  members and 10,543 films), and the weights are the prices of its rows.
  """
  from scipy import optimize  # slow to import

  members, films = error.shape
  solved = optimize.linprog(
    np.append(np.zeros(films), -1.0),
    A_ub=np.column_stack([-error, np.ones(members)]),
    b_ub=np.zeros(members),
    bounds=[(-1, 1)] * films + [(None, None)],
    method='highs-ds',  # simplex: ends in a corner
  )
  weights = np.maximum(-solved.ineqlin.marginals, 0)
  return weights / weights.sum()


def _least_squares(error: np.ndarray) -> np.ndarray:
  """Minimise mean (w @ error)^2 by non-negative least squares.

  Of (w @ error)^2 + (sum(w) - 1)^2 the best w of any sum is a multiple of the
  best w of sum 1: at each multiple s of a w the first term is s^2 times its
  loss, so the smaller loss wins whatever s is.
  """
  from scipy import optimize

  members, films = error.shape
  scale = np.sqrt(np.sum(error**2)) or 1.0
  weights, _ = optimize.nnls(
    np.vstack([error.T / scale, np.ones(members)]),
    np.append(np.zeros(films), 1.0),
  )
  return weights / weights.sum()


def film_weights(
  error: np.ndarray, ids: np.ndarray, split: np.ndarray, way: str
) -> tuple[np.ndarray, np.ndarray]:
  """Fit weights on FIT, and weights of each film that it has no part in.

  Args:
    error: of each member, months, [M, N].
    ids: of the films, [N].
    split: of the films, [N].
    way: of WEIGHTS.

  Returns:
    Weights fitted on all FIT films, [M]; weights by film, [M, N]: for a FIT
    film fitted on those of the other PARTS, for others on all.
  """
  members = len(error)
  if way == 'mean':
    return np.full(members, 1 / members), np.full(error.shape, 1 / members)
  known = split == FIT
  weights = fit_weights(error[:, known], way)
  by_film = np.repeat(weights[:, None], len(ids), axis=1)
  for part in range(PARTS):
    names = splits.fold({'id': ids}, split, PARTS, part)
    judged, fitted = known & (names == 'validation'), known & (names == 'train')
    if judged.any() and fitted.any():
      by_film[:, judged] = fit_weights(error[:, fitted], way)[:, None]
  return weights, by_film


def sexes_apart(sex: np.ndarray, split: np.ndarray) -> tuple[str, ...]:
  """Name the sexes that get weights of their own: both, or none.

  Args:
    sex: of the films, +1 male, -1 female, else unknown, [N].
    split: of the films, [N].
  """
  fitted = groups.sex_text(sex)[split == FIT]
  enough = [np.sum(fitted == name) > SEX_FILMS for name in ('F', 'M')]
  return ('F', 'M') if all(enough) else ()


def check(stage: stages.Stage) -> None:
  """Check what averages stages."""
  validate.choose(stage.section, stage.name, 'weights', WEIGHTS)
  members = tuple(stage.section.members)
  for member in members:
    sections = [stage.config[name] for name in stages.parts(member)]
    sexes = [section.get('input', {}).get('sex', '') for section in sections]
    if sexes != [''] and sorted(sexes) != ['F', 'M']:
      raise ValueError(
        f'Expected each of {stage.name}.members to be a stage of both sexes, '
        f"or two of one sex each such as 'boys+girls', got {member!r} with "
        f'input.sex {", ".join(map(repr, sexes))}: change '
        f'--config.{stage.name}.members.'
      )
  if len(set(members)) < 2:
    raise ValueError(
      f'Expected two or more {stage.name}.members, got '
      f'{", ".join(members) or "none"}.'
    )
