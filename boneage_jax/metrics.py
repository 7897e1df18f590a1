"""Errors of predicted bone ages, and how well regions cover annotated boxes.

Everything is plain numpy. Ages and errors are months; an error is prediction
minus truth, so a positive bias is an age read too old. Boxes are x0, y0, x1, y1
in fractions of the film. A group without films is left out, never NaN.
"""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np

WITHIN = (6, 12, 24)  # months
BAND = 24  # months an age band is wide
OLDEST = 240  # months; the last band takes whatever is older

# Stages after Gilsanz and Ratib with the bounds of Iglovikov et al. 2017: first
# month of the stage for girls and for boys, inclusive.
STAGES = (
  ('infancy', 0, 0),
  ('toddler', 10, 14),
  ('pre-puberty', 24, 36),
  ('early and mid puberty', 84, 108),
  ('late puberty', 156, 168),
  ('post-puberty', 180, 192),
)

# A net that has learnt nothing but the sex answers with one age per sex.
# Predictions with less than this share of the true spread count as collapsed:
# they explain at most 44 % of the variance, whatever their correlation.
COLLAPSE_RATIO = 0.25
COLLAPSE_FILMS = 5  # fewer films of a sex say nothing about a spread

# Raters of the ossification boxes, the one to believe first.
RATERS = ('expert', 'train', 'nonexpert')
NEAR = 0.08  # long sides from the wrist box's centre


def sex(male: np.ndarray) -> np.ndarray:
  """Name the sexes: 1 male, 0 female, anything else unknown."""
  male = np.asarray(male, np.float64)
  return np.select([male == 1, male == 0], ['male', 'female'], 'unknown')


def stage(age: np.ndarray, male: np.ndarray) -> np.ndarray:
  """Name the developmental stage of each film.

  Args:
    age: months, [N].
    male: 1 male, 0 female, else unknown, [N].

  Returns:
    Names of STAGES, [N], lower bounds inclusive; '' where the sex is unknown,
    as the bounds depend on it.
  """
  age, sexes = np.asarray(age, np.float64), sex(male)
  names, girls, boys = map(np.array, zip(*STAGES, strict=True))
  out = np.full(age.shape, '', dtype=names.dtype)
  for name, bounds in (('female', girls), ('male', boys)):
    index = np.searchsorted(bounds, age, side='right') - 1
    out = np.where(sexes == name, names[np.maximum(index, 0)], out)
  return out


def age_band(age: np.ndarray) -> np.ndarray:
  """Name the 24-month band of each age, as '48-72', lower bound inclusive."""
  last = OLDEST // BAND - 1
  low = np.clip(np.asarray(age, np.float64) // BAND, 0, last).astype(int) * BAND
  return np.array([f'{start}-{start + BAND}' for start in low], dtype='<U16')


def _check(**columns: np.ndarray) -> list[np.ndarray]:
  """Return the columns as float64 after checking length and finiteness."""
  arrays = [np.asarray(c, np.float64).reshape(-1) for c in columns.values()]
  lengths = {name: len(a) for name, a in zip(columns, arrays, strict=True)}
  if len(set(lengths.values())) != 1 or not len(arrays[0]):
    raise ValueError(
      f'Expected columns of one length, at least one film; got {lengths}.'
    )
  for name, array in zip(columns, arrays, strict=True):
    bad = int(np.sum(~np.isfinite(array)))
    if bad:
      raise ValueError(
        f'{bad} of {len(array)} values of {name} are not finite. Drop films '
        'without a label; a net that answers NaN has diverged: lower its '
        'learning rate.'
      )
  return arrays


def bootstrap_means(
  values: np.ndarray, bootstrap: int = 1000, seed: int = 0
) -> np.ndarray:
  """Return means [bootstrap, K] of values [N, K] over resampled films."""
  rng = np.random.default_rng(seed)
  n = len(values)
  means = np.empty((bootstrap, values.shape[1]))
  for row in means:
    counts = np.bincount(rng.integers(n, size=n), minlength=n)
    row[:] = counts @ values / n
  return means


def _interval(samples: np.ndarray) -> list[float]:
  return [float(v) for v in np.percentile(samples, (2.5, 97.5))]


def _errors(error: np.ndarray, bootstrap: int, seed: int) -> dict[str, Any]:
  """Return the error figures of one group; intervals from two films on."""
  size = np.abs(error)
  within = [size <= months for months in WITHIN]
  values = np.stack([size, error**2, error, *within], axis=1)
  names = ('mae', 'rmse', 'bias', *(f'within_{months}' for months in WITHIN))

  point = values.mean(axis=0)
  point[1] = np.sqrt(point[1])
  out: dict[str, Any] = {'n': len(error), 'median': float(np.median(size))}
  out |= {name: float(v) for name, v in zip(names, point, strict=True)}
  if bootstrap and len(error) > 1:
    samples = bootstrap_means(values, bootstrap, seed)
    samples[:, 1] = np.sqrt(samples[:, 1])
    for name, column in zip(names, samples.T, strict=True):
      out[f'{name}_ci95'] = _interval(column)
  return out


def collapse(
  age: np.ndarray, prediction: np.ndarray, male: np.ndarray
) -> dict[str, Any]:
  """Compare the spread of the predictions with that of the truth, by sex.

  Returns:
    `<sex>_sd` and `<sex>_true_sd` in months for each sex present, and `alarm`:
    whether a sex with COLLAPSE_FILMS films or more is below COLLAPSE_RATIO.
  """
  out: dict[str, Any] = {'alarm': False}
  sexes = sex(male)
  for name in sorted(set(sexes)):
    of = sexes == name
    sd, true_sd = float(np.std(prediction[of])), float(np.std(age[of]))
    out[f'{name}_sd'], out[f'{name}_true_sd'] = sd, true_sd
    if of.sum() >= COLLAPSE_FILMS and sd < COLLAPSE_RATIO * true_sd:
      out['alarm'] = True
  return out


def summary(
  age: np.ndarray,
  prediction: np.ndarray,
  male: np.ndarray,
  bootstrap: int = 1000,
  seed: int = 0,
) -> dict[str, Any]:
  """Summarise the errors of one set of films.

  Args:
    age: true bone age, months, [N].
    prediction: predicted bone age, months, [N].
    male: 1 male, 0 female, else unknown, [N].
    bootstrap: resamples of films behind each percentile interval; 0: none.
    seed: of the resampling.

  Returns:
    A dict ready for JSON: n, mae, rmse, bias, within_6, within_12, within_24
    (shares, bounds inclusive), each with its `_ci95`; median (of the absolute
    error); by_sex, by_age, by_stage (group -> the same figures) and collapse.

  Raises:
    ValueError: for no films, unequal lengths or values that are not finite.
  """
  age, prediction, male = _check(age=age, prediction=prediction, male=male)
  error = prediction - age
  out = _errors(error, bootstrap, seed)
  bands = [f'{a}-{a + BAND}' for a in range(0, OLDEST, BAND)]
  groups = {
    'by_sex': (sex(male), ('female', 'male', 'unknown')),
    'by_age': (age_band(age), bands),
    'by_stage': (stage(age, male), [name for name, _, _ in STAGES]),
  }
  for key, (labels, order) in groups.items():
    out[key] = {
      name: _errors(error[labels == name], bootstrap, seed)
      for name in order
      if np.any(labels == name)
    }
  out['collapse'] = collapse(age, prediction, male)
  return out


def paired_difference(
  age: np.ndarray,
  a: np.ndarray,
  b: np.ndarray,
  bootstrap: int = 1000,
  seed: int = 0,
) -> dict[str, Any]:
  """Compare two predictors on the same films.

  Returns:
    n, mae_a, mae_b, difference (mae_a - mae_b, negative when `a` is the better)
    and, from two films on, difference_ci95 (films resampled in pairs).
  """
  age, a, b = _check(age=age, a=a, b=b)
  values = np.stack([np.abs(a - age), np.abs(b - age)], axis=1)
  mae_a, mae_b = values.mean(axis=0)
  out: dict[str, Any] = {
    'n': len(age),
    'mae_a': float(mae_a),
    'mae_b': float(mae_b),
    'difference': float(mae_a - mae_b),
  }
  if bootstrap and len(age) > 1:
    difference = values[:, :1] - values[:, 1:]
    out['difference_ci95'] = _interval(
      bootstrap_means(difference, bootstrap, seed)
    )
  return out


def _area(box: np.ndarray) -> np.ndarray:
  side = np.maximum(box[..., 2:] - box[..., :2], 0)
  return side[..., 0] * side[..., 1]


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  low = np.maximum(a[..., :2], b[..., :2])
  high = np.minimum(a[..., 2:], b[..., 2:])
  return _area(np.concatenate([low, high], axis=-1))


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Return intersection over union of boxes [..., 4]; 0 if both are empty."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  both = _overlap(a, b)
  union = _area(a) + _area(b) - both
  return both / np.where(union > 0, union, 1)


def _centre(box: np.ndarray) -> np.ndarray:
  return (box[..., :2] + box[..., 2:]) / 2


def _inside(point: np.ndarray, box: np.ndarray) -> np.ndarray:
  return np.all((point >= box[:2]) & (point <= box[2:]), axis=-1)


def annotated_boxes(film: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Return the boxes [K, 4] of each label by the first of RATERS present."""
  boxes = film.get('boxes') or []
  present = {rater for rater, _, _ in boxes}
  order = [r for r in RATERS if r in present] + sorted(present - set(RATERS))
  out = collections.defaultdict(list)
  for rater, label, box in boxes:
    if rater == order[0]:
      out[label].append(box)
  return {label: np.array(b, np.float64) for label, b in out.items()}


def region_coverage(
  regions: Mapping[int, Mapping[str, tuple]],
  annotations: Mapping[int, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
  """Measure regions against annotated boxes, region by region.

  Raters agree at an IoU of only about 0.5, so centres and coverage say more.
  Where several raters marked a film, the expert's boxes count, then those of
  the training set, then the non-expert's. A region that was not found (its box
  is then the whole film) counts as a miss in every share, and is left out of
  the distance and the IoU.

  Args:
    regions: film id -> {region: (box, score, found)}.
    annotations: films of `annotations.load`: film id -> a dict with `boxes`,
      a list of (rater, label, box), and optionally `hw`, the film's height and
      width in any unit; without it the film is taken as square.

  Returns:
    region -> n (annotated films), found (share), and where such boxes exist:
    centre_in_wrist, centre_near_wrist (inside, or within NEAR long sides of the
    wrist box's centre), centre_distance (long sides), iou_wrist, and
    covers_dip, covers_pip, covers_mcp (mean share of box centres inside).
  """
  rows: dict[str, dict[str, list]] = {}
  for film_id in sorted(set(regions) & set(annotations)):
    targets = annotated_boxes(annotations[film_id])
    if not targets:
      continue
    height, width = annotations[film_id].get('hw', (1, 1))
    sides = np.array([width, height]) / max(width, height)
    for name, region in regions[film_id].items():
      row = rows.setdefault(name, collections.defaultdict(list))
      box, found = np.asarray(region[0], np.float64), bool(region[2])
      row['found'].append(found)
      if 'Wrist' in targets:
        wrist = targets['Wrist'][0]
        away = float(np.linalg.norm((_centre(box) - _centre(wrist)) * sides))
        inside = found and bool(_inside(_centre(box), wrist))
        row['centre_in_wrist'].append(inside)
        row['centre_near_wrist'].append(inside or (found and away <= NEAR))
        if found:
          row['centre_distance'].append(away)
          row['iou_wrist'].append(iou(box, wrist))
      for label in ('DIP', 'PIP', 'MCP'):
        if label in targets:
          covered = np.mean(_inside(_centre(targets[label]), box))
          row[f'covers_{label.lower()}'].append(covered if found else 0)
  return {
    name: {'n': len(row['found'])}
    | {key: float(np.mean(values)) for key, values in row.items()}
    for name, row in rows.items()
  }
