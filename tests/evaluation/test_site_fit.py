"""Corrections of a site: what is planted is found, chance is refused."""

import numpy as np
import pytest

from boneage_jax.evaluation import site_fit
from boneage_jax.inference import site

SLOPE, OFFSET = 0.9, 6.0  # of girls; boys are read as they are


def planted(films=100, slope=SLOPE, offset=OFFSET, sd=4.0, seed=0):
  rng = np.random.default_rng(seed)
  age = rng.uniform(24, 216, films)
  sex = np.where(np.arange(films) % 2, 1.0, -1.0)
  said = np.where(sex < 0, slope * age + offset, age) + rng.normal(0, sd, films)
  return {'age': age, 'sex': sex, 'prediction': said}


@pytest.fixture(scope='module')
def found():
  return site_fit.fit(planted())


def test_a_planted_bias_lies_in_its_interval(found):
  girls, boys = found['sexes']['F'], found['sexes']['M']
  for row, slope, offset in ((girls, SLOPE, OFFSET), (boys, 1.0, 0.0)):
    low, high = row['bias']['slope_ci95']
    assert low <= slope <= high and high - low < 0.1
    low, high = row['bias']['offset_ci95']
    assert low <= offset <= high and high - low < 12
  assert girls['kept'] and not boys['kept']
  assert list(found['by_sex']) == ['F']


@pytest.mark.parametrize('kind', site.KINDS)
def test_new_films_gain_as_those_left_out_did(kind):
  found = site_fit.fit(planted(), kind)
  new = planted(4000, seed=1)
  of = new['sex'] < 0
  age, said = new['age'][of], new['prediction'][of]
  corrected = site.correct(found['by_sex'], 'F', said)
  gain = np.mean(np.abs(said - age) - np.abs(corrected - age))
  low, high = found['sexes']['F']['gain_ci95']
  assert low <= gain <= high
  assert np.all(np.diff(corrected[np.argsort(said)]) >= 0)
  boys = new['prediction'][~of]
  assert site.correct(found['by_sex'], 'M', boys) is boys


def test_intervals_are_those_of_the_corrected_films(found):
  new = planted(4000, seed=2)
  girls = new['sex'] < 0
  group = found['calibration']['groups']['F']
  reach = group['quantiles'][0][found['calibration']['levels'].index(90)]
  said = site.correct(found['by_sex'], 'F', new['prediction'][girls])
  inside = np.mean(np.abs(said - new['age'][girls]) <= reach)
  assert 0.82 < inside < 0.97  # of 50 films that calibrate


def test_left_out_errors_are_those_of_fits_without_the_film():
  films = planted(12)
  x, y = films['prediction'][::2], films['age'][::2]
  left = site_fit._left_out(x, y, 'F', 'linear')
  for k in range(len(x)):
    slope, offset = np.polyfit(np.delete(x, k), np.delete(y, k), 1)
    assert left[k] == pytest.approx(slope * x[k] + offset)


def test_what_helps_by_chance_alone_is_refused():
  kept = 0
  for seed in range(20):
    try:
      site_fit.fit(planted(slope=1.0, offset=0.0, seed=seed))
      kept += 1
    except ValueError as error:
      assert 'would not lower the error beyond chance' in str(error)
  assert kept <= 1  # of 40 sexes, 1 % each


@pytest.mark.parametrize('kind', site.KINDS)
def test_chance_is_how_often_chance_does_it(kind, monkeypatch):
  """Without a bias it is below a share as often as the share says."""
  monkeypatch.setattr(site_fit, 'FLIPS', 39)
  said = []
  for seed in range(60):
    age = planted(60, seed=seed)['age'][::2]
    errors = np.random.default_rng(seed).laplace(0, 5, len(age))
    said.append(site_fit.chance(age, age + errors, 'F', kind))
  assert 0.35 < np.mean(np.array(said) <= 0.5) < 0.65
  assert np.mean(np.array(said) <= 0.1) < 0.25
  biased = site_fit.chance(age, 0.9 * age + errors, 'F', kind)
  assert biased == 1 / 40


def test_few_films_and_isotonic_ends():
  with pytest.raises(
    ValueError, match='Expected 20 films or more of a sex, got'
  ):
    site_fit.fit(planted(30))
  own = {'F': {'predicted': [10.0, 20.0], 'corrected': [12.0, 18.0]}}
  ages = np.array([0.0, 8.0, 10.0, 15.0, 20.0, 30.0])
  got = site.correct(own, 'F', ages)
  np.testing.assert_allclose(got, [2, 10, 12, 15, 18, 28])
  down = {'F': {'slope': 1.0, 'intercept': -5.0}}
  assert site.correct(down, 'F', np.float64(3.0)) == 0  # no age is below 0
