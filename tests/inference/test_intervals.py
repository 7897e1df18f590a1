"""Temperature and intervals on made-up films whose noise is known."""

import json

import numpy as np
import pytest

from boneage_jax.evaluation import interval_coverage
from boneage_jax.inference import intervals

MONTHS = np.arange(240)


def _normal(mean, sd):
  mean = np.asarray(mean, float)[:, None]
  sd = np.broadcast_to(np.asarray(sd, float), len(mean))[:, None]
  mass = np.exp(-0.5 * ((MONTHS - mean) / sd) ** 2)
  return mass / mass.sum(axis=1, keepdims=True)


def _films(n, rng, *, sd=None, noise=8.0, said=10.0):
  """Films whose errors have the deviation `sd` per film, or `noise`."""
  sd = np.full(n, noise) if sd is None else sd
  prediction = rng.uniform(20, 200, n)
  return {
    'prediction': prediction,
    'age': prediction + sd * rng.normal(size=n),
    'sex': rng.choice([-1.0, 1.0], n),
    'probability': _normal(prediction, said),
  }


# Temperature.


@pytest.mark.parametrize('temperature', [0.4, 1.0, 2.5])
def test_temperature_is_recovered(temperature):
  rng = np.random.default_rng(0)
  probability = rng.dirichlet(np.full(240, 0.5), 4000)
  probability = np.maximum(probability, 1e-6)
  probability /= probability.sum(axis=1, keepdims=True)
  true = probability ** (1 / temperature)
  true /= true.sum(axis=1, keepdims=True)
  draws = rng.random((4000, 1))
  age = np.argmax(np.cumsum(true, axis=1) > draws, axis=1)
  fitted = intervals.fit_temperature(probability, age.astype(float))
  assert fitted == pytest.approx(temperature, rel=0.04)


def test_temperature_of_a_normal_is_its_variance_ratio():
  # p^(1/T) of a normal distribution has the variance T sd^2.
  films = _films(6000, np.random.default_rng(1), noise=6.0, said=12.0)
  temperature = intervals.fit_temperature(films['probability'], films['age'])
  assert temperature == pytest.approx((6 / 12) ** 2, rel=0.05)
  tempered = intervals.temper(films['probability'], temperature)
  mean = tempered @ MONTHS
  sd = np.sqrt(tempered @ MONTHS**2 - mean**2)
  assert np.median(sd) == pytest.approx(6, rel=0.03)


def test_temperature_is_the_best_of_a_grid():
  films = _films(300, np.random.default_rng(2), noise=15.0)
  probability, age = 0.9 * films['probability'] + 0.1 / 240, films['age']
  month = np.clip(np.floor(age + 0.5), 0, 239).astype(int)

  def loss(temperature):
    power = probability ** (1 / temperature)
    power /= power.sum(axis=1, keepdims=True)
    return -np.mean(np.log(power[np.arange(300), month]))

  fitted = intervals.fit_temperature(probability, age)
  grid = np.geomspace(0.5, 5, 200)
  best = grid[np.argmin([loss(t) for t in grid])]
  assert fitted == pytest.approx(best, rel=0.012)  # one step of the grid
  assert intervals.nll(probability, age, fitted) == pytest.approx(loss(fitted))
  assert intervals.nll(probability, age) == pytest.approx(loss(1))


def test_temperature_ends_at_the_coldest_and_at_the_hottest():
  months = np.arange(240)
  sure = 0.9 * np.eye(240) + 0.1 / 240  # the true month is always the likeliest
  assert intervals.fit_temperature(sure, months) == intervals.COLDEST
  wrong = np.roll(sure, 1, axis=0)
  assert intervals.fit_temperature(wrong, months) == intervals.HOTTEST


def test_temperature_of_two_bins_in_closed_form():
  # 3 of 4 films lie in the bin of p = 0.6: 0.6^(1/T) to 0.4^(1/T) is 3 to 1.
  probability = np.tile([0.6, 0.4], (4, 1))
  fitted = intervals.fit_temperature(probability, np.array([0, 0, 0, 1]))
  assert fitted == pytest.approx(np.log(1.5) / np.log(3), rel=1e-9)


def test_temperature_one_changes_nothing():
  probability = _normal([50.0, 100.0], 9)
  np.testing.assert_allclose(
    intervals.temper(probability, 1), probability, atol=1e-6
  )
  assert intervals.nll(np.full((3, 240), 1 / 240), np.array([0, 5, 300])) == (
    pytest.approx(np.log(240))
  )


# Quantiles.


def test_quantiles_of_bins():
  point = np.zeros((1, 240))
  point[0, 100] = 1
  np.testing.assert_allclose(
    intervals.quantiles(point, [0.0, 0.5, 0.9]), [[99.5, 100, 100.4]]
  )
  even = np.full((1, 240), 1 / 240)
  np.testing.assert_allclose(
    intervals.quantiles(even, [0.25, 0.75]), [[59.5, 179.5]]
  )
  low, high = intervals.central(_normal([120.0], 10), (95,))[0, 0]
  np.testing.assert_allclose([low, high], [120 - 19.6, 120 + 19.6], atol=0.03)


@pytest.mark.parametrize(('level', 'least'), [(80, 4), (90, 9), (95, 19)])
def test_rank_of_the_conformal_quantile(level, least):
  assert intervals.least_films(level) == least
  rng = np.random.default_rng(level)
  for n in (least, least + 1, 100, 551):
    scores = rng.normal(size=n)
    rank = int(np.ceil(round((n + 1) * level / 100, 9)))
    assert (
      intervals.conformal_quantile(scores, level) == np.sort(scores)[rank - 1]
    )
  with pytest.raises(ValueError, match=f'needs {least} films'):
    intervals.conformal_quantile(np.zeros(least - 1), level)


# Coverage.


@pytest.mark.parametrize('score', intervals.SCORES)
def test_coverage_over_many_draws(score):
  # The chance that a new film is covered, over calibration sets, lies between
  # the level and the level + 1 / (n + 1), however wrong the distributions are;
  # and nearly so with a temperature from the same films.
  rng = np.random.default_rng(5)
  covered, n, runs = [], 60, 150
  for _ in range(runs):
    sd = rng.uniform(2, 20, n + 100)
    films = _films(n + 100, rng, sd=sd, said=rng.uniform(5, 30, n + 100))
    parts = [
      {name: column[at] for name, column in films.items()}
      for at in (slice(n), slice(n, None))
    ]
    if score != 'absolute':
      temperature = intervals.fit_temperature(
        parts[0]['probability'], parts[0]['age']
      )
      for part in parts:
        part['probability'] = intervals.temper(part['probability'], temperature)
    made = intervals.fit(parts[0], score, groups='all')
    ends = intervals.apply(made, parts[1])
    covered.append(interval_coverage.coverage(parts[1]['age'], ends)['covered'])
  mean = np.mean(covered, axis=0)
  error = 3 * np.std(covered, axis=0) / np.sqrt(runs)
  levels = np.array(intervals.LEVELS) / 100
  assert np.all(mean > levels - error)
  assert np.all(mean < levels + 1 / (n + 1) + error)


def test_each_group_is_covered():
  # Girls err four times as much as boys, and old hands twice as much as young.
  rng = np.random.default_rng(6)
  tallies = {}
  for _ in range(60):
    sets = []
    for n in (240, 400):
      films = _films(n, rng)
      spread = np.where(films['sex'] == 1, 3.0, 12.0)
      spread *= np.where(films['prediction'] >= 96, 2, 1)
      error = spread * rng.normal(size=n)
      sets.append(films | {'age': films['prediction'] + error})
    for groups in ('all', 'sex_age'):
      made = intervals.fit(sets[0], groups=groups)
      ends = intervals.apply(made, sets[1])
      for sex in (-1, 1):
        for old in (False, True):
          of = (sets[1]['sex'] == sex) & ((sets[1]['prediction'] >= 96) == old)
          row = interval_coverage.coverage(sets[1]['age'][of], ends[of])
          tallies.setdefault((groups, sex, old), []).append(row['covered'][0])
  means = {key: np.mean(rows) for key, rows in tallies.items()}
  for (groups, sex, old), mean in means.items():
    if groups == 'sex_age':
      assert 0.78 < mean < 0.86, (sex, old)
  assert means['all', -1, True] < 0.6 and means['all', 1, False] > 0.97


def test_groups_pool_neighbouring_bands():
  prediction = np.repeat([10.0, 30.0, 60.0, 100.0, 230.0], [5, 15, 30, 21, 4])
  films = {
    'prediction': np.concatenate([prediction, [100.0] * 6]),
    'sex': np.repeat([1.0, -1.0], [75, 6]),
  }
  films['age'] = films['prediction'] + 1 + np.arange(81) / 100
  made = intervals.fit(films, least=0)
  # 5 + 15 boys are 20; 30 are enough; 21 + 4 stay together.
  assert made['groups']['M']['cuts'] == [48, 72]
  assert made['groups']['M']['n'] == [20, 30, 25]
  assert 'F' not in made['groups']  # six girls: all films speak for them
  assert made['groups']['any'] == {
    'cuts': [],
    'n': [81],
    'quantiles': [[pytest.approx(1 + k / 100) for k in (65, 73, 77)]],
  }
  new = {'prediction': np.array([47.9, 48.0, 100.0, 100.0])}
  new['sex'] = np.array([1.0, 1.0, -1.0, 0.0])
  ends = intervals.apply(json.loads(json.dumps(made)), new)
  reach = ends[:, 0, 1] - new['prediction']
  np.testing.assert_allclose(reach, [1.16, 1.44, 1.65, 1.65])
  for changes in ({'least': 40}, {}):  # by itself 50
    wide = intervals.fit(films, **changes)
    assert wide['groups']['M']['n'] == [75]
  many = {name: np.tile(column, 3) for name, column in films.items()}
  assert intervals.fit(many)['groups']['M']['n'] == [60, 90, 75]
  assert list(intervals.fit(films, groups='all')['groups']) == ['any']


def test_normalised_intervals_follow_the_distribution():
  rng = np.random.default_rng(8)
  sd = rng.choice([4.0, 16.0], 2000)
  films = _films(2000, rng, sd=sd, said=sd)
  made = intervals.fit(films, 'normalised', groups='all')
  width = np.diff(intervals.apply(made, films)[:, 0])[:, 0]
  inside = (films['prediction'] > 60) & (films['prediction'] < 160)
  assert np.median(width[inside & (sd == 16)]) == pytest.approx(
    4 * np.median(width[inside & (sd == 4)]), rel=0.02
  )
  z = 1.2815515655446004  # of the normal law, 80 %
  assert made['groups']['any']['quantiles'][0][0] == pytest.approx(z, rel=0.06)


def test_quantile_intervals_never_turn_over():
  # Distributions much too wide: the reach is negative, and some are narrow.
  rng = np.random.default_rng(9)
  said = np.where(np.arange(400) < 390, 40.0, 1.0)
  films = _films(400, rng, noise=2.0, said=said)
  made = intervals.fit(films, 'quantile', groups='all')
  assert made['groups']['any']['quantiles'][0][0] < 0
  ends = intervals.apply(made, films)
  assert np.all(ends[..., 0] <= ends[..., 1])
  assert np.all(ends >= 0)


def test_what_cannot_be_calibrated():
  films = _films(30, np.random.default_rng(0))
  with pytest.raises(ValueError, match="got 'best' and 'sex'"):
    intervals.fit(films, 'best', 'sex')
  with pytest.raises(ValueError, match='95 % needs 19 films'):
    intervals.fit({k: v[:18] for k, v in films.items()})
  del films['probability']
  with pytest.raises(ValueError, match="this net has no bins: choose 'abs"):
    intervals.fit(films, 'normalised')


# Tables of coverage.


def test_coverage_by_group():
  films = {
    'age': np.array([10.0, 50.0, 100.0, 110.0]),
    'prediction': np.array([30.0, 50.0, 100.0, 100.0]),
    'sex': np.array([-1.0, -1.0, 1.0, 0.0]),
  }
  ends = films['prediction'][:, None, None] + np.array([[-5.0, 5.0], [-20, 20]])
  row = interval_coverage.grouped_coverage(films, ends)
  assert row['covered'] == [0.5, 1.0]  # the ends are inside
  assert row['width'] == [10, 40]
  assert row['by_sex']['F']['covered'] == [0.5, 1]
  assert row['by_sex']['unknown']['n'] == 1
  assert list(row['by_predicted_age']) == ['24-48', '48-72', '96-120']
  assert list(row['by_age']) == ['0-24', '48-72', '96-120']
