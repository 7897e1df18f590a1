"""Errors against closed forms and scipy, boxes against hand-made ones."""

import json

import numpy as np
import pytest

from boneage_jax import metrics


def _films(n=400, seed=0, spread=8.0):
  rng = np.random.default_rng(seed)
  age = rng.uniform(1, 228, n)
  return age, age + rng.normal(1.5, spread, n), rng.integers(0, 2, n)


def test_figures_of_four_films():
  row = metrics.summary([10, 20, 30, 40], [16, 20, 18, 65], [1, 1, 0, 0])
  assert row['n'] == 4
  assert row['mae'] == pytest.approx((6 + 0 + 12 + 25) / 4)
  assert row['rmse'] == pytest.approx(np.sqrt((36 + 144 + 625) / 4))
  assert row['bias'] == pytest.approx((6 - 12 + 25) / 4)
  assert row['median'] == pytest.approx(9)
  # Six and twelve months themselves count as within.
  within = [row[f'within_{m}'] for m in (6, 12, 24)]
  assert within == [0.5, 0.75, 0.75]
  assert row['by_sex']['male']['mae'] == pytest.approx(3)
  assert row['by_sex']['female']['mae'] == pytest.approx(18.5)


def test_intervals_agree_with_another_bootstrap():
  stats = pytest.importorskip('scipy.stats')
  age, prediction, male = _films()
  row = metrics.summary(age, prediction, male, bootstrap=1500)
  error = prediction - age
  for name, statistic in (
    ('mae', lambda e, axis: np.mean(np.abs(e), axis=axis)),
    ('rmse', lambda e, axis: np.sqrt(np.mean(e**2, axis=axis))),
    ('bias', lambda e, axis: np.mean(e, axis=axis)),
    ('within_6', lambda e, axis: np.mean(np.abs(e) <= 6, axis=axis)),
  ):
    other = stats.bootstrap(
      (error,), statistic, n_resamples=1500, method='percentile', rng=5
    )
    interval = other.confidence_interval
    width = interval.high - interval.low
    np.testing.assert_allclose(
      row[f'{name}_ci95'], [interval.low, interval.high], atol=0.1 * width
    )


def test_interval_covers_the_true_mae():
  rng = np.random.default_rng(7)
  truth = 8 * np.sqrt(2 / np.pi)  # mean of |N(0, 8)|
  hits = 0
  for _ in range(200):
    error = rng.normal(0, 8, (120, 1))
    low, high = np.percentile(
      metrics.bootstrap_means(np.abs(error), 200), (2.5, 97.5)
    )
    hits += low <= truth <= high
  assert 0.90 <= hits / 200 <= 0.99


def test_seed_fixes_the_interval():
  films = _films(50)
  assert metrics.summary(*films) == metrics.summary(*films)
  other = metrics.summary(*films, seed=1)
  assert other['mae_ci95'] != metrics.summary(*films)['mae_ci95']


def test_groups_partition_the_films():
  age, prediction, male = _films()
  male = male.astype(float)
  male[:7] = 0.5
  row = metrics.summary(age, prediction, male, bootstrap=20)
  json.dumps(row, allow_nan=False)
  sizes = {
    k: sum(r['n'] for r in row[f'by_{k}'].values()) for k in ('sex', 'age')
  }
  assert sizes == {'sex': 400, 'age': 400}
  # A stage has other bounds for girls and boys, so an unknown sex has none.
  assert sum(r['n'] for r in row['by_stage'].values()) == 393
  assert row['by_sex']['unknown']['n'] == 7
  total = sum(r['n'] * r['mae'] for r in row['by_age'].values()) / 400
  assert total == pytest.approx(row['mae'])


def test_empty_groups_are_left_out():
  row = metrics.summary([100.0, 101.0], [99.0, 99.0], [0, 0])
  assert list(row['by_sex']) == ['female']
  assert list(row['by_age']) == ['96-120']
  assert list(row['by_stage']) == ['early and mid puberty']
  assert 'male_sd' not in row['collapse']
  one = metrics.summary([100.0], [99.0], [0])
  assert 'mae_ci95' not in one and one['mae'] == 1  # no interval from one film


STAGE_TABLE = [
  # stage, first month for girls and boys, last month before the next stage
  ('infancy', (0, 9.99), (0, 13.99)),
  ('toddler', (10, 23.99), (14, 35.99)),
  ('pre-puberty', (24, 83.99), (36, 107.99)),
  ('early and mid puberty', (84, 155.99), (108, 167.99)),
  ('late puberty', (156, 179.99), (168, 191.99)),
  ('post-puberty', (180, 228), (192, 228)),
]


@pytest.mark.parametrize(('name', 'girls', 'boys'), STAGE_TABLE)
def test_stage_bounds(name, girls, boys):
  assert list(metrics.stage(np.array(girls), np.zeros(2))) == [name] * 2
  assert list(metrics.stage(np.array(boys), np.ones(2))) == [name] * 2


def test_stage_of_unknown_sex_is_empty():
  assert list(metrics.stage(np.array([100.0]), np.array([0.5]))) == ['']


def test_age_bands():
  bands = metrics.age_band(np.array([0, 23.9, 24, 100, 216, 240]))
  assert list(bands) == [
    '0-24', '0-24', '24-48', '96-120', '216-240', '216-240',
  ]  # fmt: skip


def test_collapse_alarm():
  age, prediction, male = _films()
  good = metrics.summary(age, prediction, male, bootstrap=0)['collapse']
  assert not good['alarm']
  assert good['male_sd'] == pytest.approx(np.std(prediction[male == 1]))
  # One age per sex: over both sexes the predictions do spread.
  constant = np.where(male == 1, 140.0, 110.0)
  assert metrics.summary(age, constant, male, bootstrap=0)['collapse']['alarm']
  half = np.where(male == 1, 140.0, prediction)
  assert metrics.summary(age, half, male, bootstrap=0)['collapse']['alarm']


def test_bad_values_are_counted():
  with pytest.raises(ValueError, match='2 of 3 values of prediction'):
    metrics.summary([1, 2, 3], [np.nan, np.inf, 3], [0, 0, 1])
  with pytest.raises(ValueError, match='one length'):
    metrics.summary([1, 2, 3], [1, 2], [0, 0, 1])
  with pytest.raises(ValueError, match='at least one film'):
    metrics.summary([], [], [])


def test_paired_difference():
  age = np.full(300, 100.0)
  noise = np.random.default_rng(0).normal(0, 10, 300)
  row = metrics.paired_difference(age, age + noise, age + noise * 1.1)
  assert row['difference'] == pytest.approx(-0.1 * np.mean(np.abs(noise)))
  low, high = row['difference_ci95']
  assert low < row['difference'] < high < 0  # pairing sees the small gain
  assert metrics.paired_difference(age, age, age)['difference_ci95'] == [0, 0]


def test_iou():
  a = np.array([0.0, 0.0, 0.4, 0.4])
  b = np.array([[0.2, 0.0, 0.6, 0.4], [0.5, 0.5, 0.6, 0.6], [0, 0, 0.4, 0.4]])
  np.testing.assert_allclose(metrics.iou(a, b), [1 / 3, 0, 1])
  assert metrics.iou(np.zeros(4), np.zeros(4)) == 0


def _box(x, y, half=0.05):
  return [x - half, y - half, x + half, y + half]


def test_region_coverage_of_two_films():
  wrist = [0.4, 0.7, 0.6, 0.9]
  joints = [('expert', 'MCP', _box(x, 0.5)) for x in (0.3, 0.5, 0.7, 0.95)]
  annotations = {
    1: {'boxes': [('expert', 'Wrist', wrist), *joints], 'hw': (2000, 1000)},
    2: {'boxes': [('train', 'Wrist', wrist)], 'hw': (1000, 1000)},
    3: {'hand_box': [0, 0, 1, 1]},  # no boxes: not annotated for this
  }
  whole = (0.0, 0.0, 1.0, 1.0)
  regions = {
    1: {
      'carpal': (_box(0.65, 0.8, 0.1), 0.5, True),  # just outside, yet near
      'metacarpal': ((0.2, 0.4, 0.8, 0.6), 0.5, True),
    },
    2: {'carpal': (whole, 0.0, False), 'metacarpal': (wrist, 0.5, True)},
    3: {'carpal': (wrist, 0.5, True)},
    4: {'carpal': (wrist, 0.5, True)},
  }
  rows = metrics.region_coverage(regions, annotations)
  carpal = rows['carpal']
  assert (carpal['n'], carpal['found']) == (2, 0.5)
  assert carpal['centre_in_wrist'] == 0
  assert carpal['centre_near_wrist'] == 0.5  # the miss does not count as near
  # 0.15 of the width is 0.075 of the long side of a film twice as high.
  assert carpal['centre_distance'] == pytest.approx(0.075)
  assert carpal['iou_wrist'] == pytest.approx(0.01 / 0.07)
  assert carpal['covers_mcp'] == 0
  metacarpal = rows['metacarpal']
  assert metacarpal['covers_mcp'] == 0.75
  assert metacarpal['centre_in_wrist'] == 0.5
  assert 'covers_pip' not in metacarpal  # nobody drew one


@pytest.mark.parametrize('order', [1, -1])
def test_the_expert_goes_first(order):
  boxes = [
    ('nonexpert', 'Wrist', [0, 0, 0.1, 0.1]),
    ('train', 'Wrist', [0, 0, 0.2, 0.2]),
    ('expert', 'Wrist', [0, 0, 0.3, 0.3]),
  ][::order]
  chosen = metrics.annotated_boxes({'boxes': boxes})
  np.testing.assert_allclose(chosen['Wrist'], [[0, 0, 0.3, 0.3]])
