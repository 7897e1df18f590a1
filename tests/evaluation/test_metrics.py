"""Errors against closed forms and scipy."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from boneage_jax.core import statistics
from boneage_jax.data import groups
from boneage_jax.evaluation import metrics


def _films(n=400, seed=0, spread=8.0):
  rng = np.random.default_rng(seed)
  age = rng.uniform(1, 228, n)
  return age, age + rng.normal(1.5, spread, n), rng.choice([-1, 1], n)


def test_figures_of_four_films():
  row = metrics.summary([10, 20, 30, 40], [16, 20, 18, 65], [1, 1, -1, -1])
  assert row['n'] == 4
  assert row['mae'] == pytest.approx((6 + 0 + 12 + 25) / 4)
  assert row['rmse'] == pytest.approx(np.sqrt((36 + 144 + 625) / 4))
  assert row['bias'] == pytest.approx((6 - 12 + 25) / 4)
  assert row['median'] == pytest.approx(9)
  # Six and twelve months themselves count as within.
  within = [row[f'within_{m}'] for m in (6, 12, 24)]
  assert within == [0.5, 0.75, 0.75]
  assert row['by_sex']['M']['mae'] == pytest.approx(3)
  assert row['by_sex']['F']['mae'] == pytest.approx(18.5)


def test_intervals_agree_with_another_bootstrap():
  age, prediction, sex = _films()
  row = metrics.summary(age, prediction, sex, bootstrap=1500)
  error = prediction - age
  for name, statistic in (
    ('mae', lambda e, axis: np.mean(np.abs(e), axis=axis)),
    ('rmse', lambda e, axis: np.sqrt(np.mean(e**2, axis=axis))),
    ('bias', lambda e, axis: np.mean(e, axis=axis)),
  ):
    other = stats.bootstrap(
      (error,), statistic, n_resamples=1500, method='percentile', rng=5
    )
    interval = other.confidence_interval
    width = interval.high - interval.low
    np.testing.assert_allclose(
      row[f'{name}_ci95'], [interval.low, interval.high], atol=0.1 * width
    )


@pytest.mark.parametrize(('hits', 'n'), [(0, 8), (7, 8), (90, 100), (500, 500)])
def test_wilson_interval(hits, n):
  # Its ends are the shares p whose z of `hits` is 1.96 (Wilson 1927).
  z, share = 1.959963984540054, hits / n
  a, b, c = 1 + z**2 / n, -(2 * share + z**2 / n), share**2
  expected = sorted(np.roots([a, b, c]).tolist())
  np.testing.assert_allclose(statistics.wilson(hits, n), expected, atol=1e-12)


def test_wilson_stays_among_shares():
  for n in range(1, 60):
    for hits in range(n + 1):
      low, high = statistics.wilson(hits, n)
      assert 0 <= low < hits / n + 1e-15 < high + 2e-15 and high <= 1
  assert f'{statistics.wilson(0, 21)[0]:.0f}' == '0'  # it was -0


@pytest.mark.parametrize('share', [0.5, 0.8, 0.95, 0.98])
def test_interval_of_a_share_covers_it(share):
  covered = 0
  for hits in range(21):
    error = np.repeat([0.0, 20.0], [hits, 20 - hits])
    low, high = metrics.error_summary(error, bootstrap=2)['within_12_ci95']
    if low <= share <= high:
      covered += math.comb(20, hits) * share**hits * (1 - share) ** (20 - hits)
  # Resampled, 20 hits give 1 to 1, which misses 0.95 36 % of the time.
  assert 0.92 < covered < 0.98


def test_all_films_within_reach_leave_doubt():
  row = metrics.error_summary(np.full(20, 7.0))
  z2 = 1.959963984540054**2
  assert row['within_12_ci95'] == pytest.approx([20 / (20 + z2), 1])
  assert row['within_6_ci95'] == pytest.approx([0, z2 / (20 + z2)])
  assert row['within_6'] == 0 and row['within_12'] == 1
  assert 'within_12_ci95' not in metrics.error_summary(np.full(9, 7.0))


def test_a_mean_has_the_interval_of_the_bias():
  rng = np.random.default_rng(1)
  values = rng.normal(3, 5, 40)
  row, errors = (
    statistics.mean(values, 'area'),
    metrics.error_summary(values),
  )
  assert row == {
    'area': pytest.approx(errors['bias']),
    'area_ci95': pytest.approx(errors['bias_ci95']),
  }
  assert statistics.mean(values[:9], 'area') == {
    'area': pytest.approx(values[:9].mean())
  }


def test_interval_covers_the_true_mae():
  rng = np.random.default_rng(7)
  truth = 8 * np.sqrt(2 / np.pi)  # mean of |N(0, 8)|
  hits = 0
  for _ in range(200):
    error = rng.normal(0, 8, (120, 1))
    low, high = np.percentile(
      statistics.bootstrap_means(np.abs(error), 200), (2.5, 97.5)
    )
    hits += low <= truth <= high
  assert 0.90 <= hits / 200 <= 0.99


def test_seed_fixes_the_interval():
  films = _films(50)
  assert metrics.summary(*films) == metrics.summary(*films)
  other = metrics.summary(*films, seed=1)
  assert other['mae_ci95'] != metrics.summary(*films)['mae_ci95']


def test_groups_partition_the_films():
  age, prediction, sex = _films()
  sex = sex.astype(float)
  sex[:7] = 0
  row = metrics.summary(age, prediction, sex, bootstrap=20)
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
  row = metrics.summary([100.0, 101.0], [99.0, 99.0], [-1, -1])
  assert list(row['by_sex']) == ['F']
  assert list(row['by_age']) == ['96-120']
  assert list(row['by_stage']) == ['early and mid puberty']
  assert 'M_sd' not in row['collapse']
  one = metrics.summary([100.0], [99.0], [0])
  assert 'mae_ci95' not in one and one['mae'] == 1


def test_few_films_have_no_interval():
  rng = np.random.default_rng(0)
  few, enough = (np.abs(rng.normal(0, 10, (400, n))) for n in (9, 10))
  assert 'mae_ci95' not in metrics.error_summary(few[0])
  assert 'difference_ci95' not in metrics.paired_difference(*np.zeros((3, 9)))
  true = 10 * np.sqrt(2 / np.pi)
  ends = [metrics.error_summary(error)['mae_ci95'] for error in enough]
  covered = np.mean([low <= true <= high for low, high in ends])
  assert 0.85 < covered < 0.97  # and 0.47 of two films


def test_crossed_cells_partition_the_films():
  age, prediction, sex = _films()
  row = metrics.summary(age, prediction, sex, bootstrap=20)
  for key in ('sex_age', 'sex_stage', 'sex_age_stage'):
    cells = row[f'by_{key}']
    assert sum(cell['n'] for cell in cells.values()) == 400
    for cell in cells.values():  # too few films: counted, not measured
      assert ('mae' in cell) == (cell['n'] >= 10)
  assert any('mae' not in cell for cell in row['by_sex_age_stage'].values())
  # Girls from 72 months; pre-puberty ends at 84 for them.
  of = (sex == -1) & (age >= 72) & (age < 84)
  cell = row['by_sex_age_stage']['F, 72-96, pre-puberty']
  error = (prediction - age)[of]
  assert cell['n'] == of.sum()
  assert cell['bias'] == pytest.approx(error.mean())
  assert cell['rmse'] == pytest.approx(np.sqrt(np.mean(error**2)))
  assert cell['within_6'] == pytest.approx(np.mean(np.abs(error) <= 6))


def test_age_balanced_counts_each_band_once():
  age = np.repeat([30.0, 50.0, 100.0], [90, 10, 4])
  error = np.repeat([2.0, -8.0, 50.0], [90, 10, 4])
  row = metrics.age_balanced(age, error)
  assert row['bands'] == ['24-48', '48-72']
  assert row['left_out'] == {'96-120': 4}
  assert row['mae'] == pytest.approx(5)  # not 2.6, the mean over films
  assert row['mae_ci95'] == [5, 5]  # no spread within a band
  assert metrics.age_balanced(age[100:], error[100:]) == {
    'bands': [],
    'left_out': {'96-120': 4},
  }


def test_age_balanced_is_of_most_bands_that_have_films_or_is_not():
  # Two bands of 5 films with small errors; in the others the errors are large.
  for others, there in ((1, True), (2, True), (3, False), (8, False)):
    age = np.repeat(24.0 * np.arange(2 + others) + 12, [5, 5] + [4] * others)
    error = np.where(np.arange(len(age)) < 10, 10.0, 60.0)
    row = metrics.age_balanced(age, error)
    assert row['bands'] == ['0-24', '24-48'], others
    assert sum(row['left_out'].values()) == 4 * others
    assert ('mae' in row) == there, others
    if there:
      assert row['mae'] == 10


def test_age_balanced_interval_resamples_within_bands():
  rng = np.random.default_rng(3)
  age = np.repeat([30.0, 100.0], [400, 40])
  error = rng.normal(0, np.repeat([2.0, 9.0], [400, 40]))
  low, high = metrics.age_balanced(age, error)['mae_ci95']
  parts = [np.abs(error[:400]), np.abs(error[400:])]
  spread = np.sqrt(sum(np.var(p) / len(p) for p in parts)) / 2
  assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_age_balanced_has_no_interval_with_a_band_of_few_films():
  rng = np.random.default_rng(4)
  for few in (5, 9):
    age = np.repeat([30.0, 100.0], [400, few])
    row = metrics.age_balanced(age, rng.normal(0, 8, 400 + few))
    assert len(row['bands']) == 2 and 'mae_ci95' not in row
  covered = []
  for _ in range(300):
    age = np.repeat([30.0, 100.0, 150.0], [10, 10, 100])
    low, high = metrics.age_balanced(
      age, rng.normal(0, 10, 120), bootstrap=300
    )['mae_ci95']
    covered.append(low <= 10 * np.sqrt(2 / np.pi) <= high)
  assert 0.86 < np.mean(covered) < 0.97


def test_mean_of_named_values():
  values = np.arange(10, dtype=np.float32)
  row = statistics.mean(values, 'area')
  assert row['area'] == 4.5 and row['area_ci95'][0] < 4.5 < row['area_ci95'][1]
  assert statistics.mean(values[:9], 'area') == {'area': 4}


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
  assert list(groups.stage(np.array(girls), -np.ones(2))) == [name] * 2
  assert list(groups.stage(np.array(boys), np.ones(2))) == [name] * 2


def test_stage_of_unknown_sex_is_empty():
  assert list(groups.stage(np.array([100.0]), np.array([0.0]))) == ['']


def test_age_bands():
  bands = groups.age_band(np.array([0, 23.9, 24, 100, 216, 240]))
  assert list(bands) == [
    '0-24', '0-24', '24-48', '96-120', '216-240', '216-240',
  ]  # fmt: skip


def test_collapse_alarm():
  age, prediction, sex = _films()
  good = metrics.summary(age, prediction, sex, bootstrap=0)['collapse']
  assert not good['alarm']
  assert good['M_sd'] == pytest.approx(np.std(prediction[sex == 1]))
  # One age per sex: over both sexes the predictions do spread.
  constant = np.where(sex == 1, 140.0, 110.0)
  assert metrics.summary(age, constant, sex, bootstrap=0)['collapse']['alarm']
  half = np.where(sex == 1, 140.0, prediction)
  assert metrics.summary(age, half, sex, bootstrap=0)['collapse']['alarm']


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
  assert (row['a_better'], row['b_better']) == (1, 0)
  tie = metrics.paired_difference(age, age + noise, age - noise)
  assert (tie['a_better'], tie['b_better']) == (0, 0)
  assert metrics.paired_difference(age, age, age)['difference_ci95'] == [0, 0]
