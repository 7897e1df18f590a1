"""Nets of one sex in an ensemble: who reads a film, and with what weight."""

import json

import numpy as np
import pytest

from boneage_jax.core import config as config_lib
from boneage_jax.inference import ensemble
from boneage_jax.inference import loading
from boneage_jax.inference import predictor
from boneage_jax.regions import localize

ALL = ('M', 'F', 'unknown')
IMAGE = np.arange(16, dtype=np.uint8).reshape(4, 4)


class Net:
  """Tells an age and the film's row, and keeps which films it was shown."""

  batch_size, builder_config, inverted, places = 4, 'original', False, None
  inputs = ()

  def __init__(self, age, *sexes):
    self.age, self.sexes, self.seen = age, sexes or ALL, []

  def outputs(self, records, memo):
    self.seen += [record['id'] for record in records]
    films = [localize.Film(r['id'], r['sex'], IMAGE, {}) for r in records]
    ages = [self.age + record['row'] for record in records]
    return {'age': np.array(ages, float)}, films


def records(*sexes):
  return [
    {'id': f'film{k}', 'row': k, 'sex': float(sex)}
    for k, sex in enumerate(sexes)
  ]


def pair():
  return ensemble.Ensemble([Net(100.0, 'M'), Net(200.0, 'F')])


def test_a_pair_reads_each_film_with_the_net_of_its_sex():
  both = pair()
  assert both.sexes == ('M', 'F')
  outputs, films = both.outputs(records(-1, 1, 1, -1))
  assert outputs['age'].tolist() == [200, 101, 102, 203]
  assert [film.id for film in films] == ['film0', 'film1', 'film2', 'film3']
  boys, girls = both.members
  assert (boys.seen, girls.seen) == (['film1', 'film2'], ['film0', 'film3'])
  assert both.predict(IMAGE, 'M').age_predicted == 100
  assert both.predict(IMAGE, 'F').age_predicted == 200


def test_a_film_of_unknown_sex_takes_nets_of_both():
  nets = ensemble.Ensemble(
    [Net(0.0), pair(), Net(60.0)], weights=[0.25, 0.5, 0.25]
  )
  assert nets.sexes == ALL
  outputs, _ = nets.outputs(records(0, 1, -1))
  # (0 + 60) / 2; then quarters of 0 and 60 and half of a boy's or girl's.
  np.testing.assert_allclose(outputs['age'], [30, 66, 117])
  assert nets.predict(IMAGE, 'F').age_predicted == pytest.approx(115)
  # Read as a boy's in row 0 and as a girl's in row 1, which adds its number.
  found = nets.predict(IMAGE, 'unknown')
  assert (found.age_if_male, found.age_if_female) == (65, 115 + 1)
  assert found.age_predicted == pytest.approx(90.5)


def test_an_ensemble_says_how_far_its_members_lie_apart():
  nets = ensemble.Ensemble([Net(100.0), Net(110.0)], weights=[0.75, 0.25])
  outputs, _ = nets.outputs(records(1, -1))
  ages = np.array([[100, 101], [110, 111]])
  mean = np.average(ages, axis=0, weights=[0.75, 0.25])
  variance = np.average((ages - mean) ** 2, axis=0, weights=[0.75, 0.25])
  np.testing.assert_allclose(outputs['spread'], np.sqrt(variance))
  alone, _ = ensemble.Ensemble([Net(100.0)]).outputs(records(1))
  assert 'spread' not in alone


def test_without_a_net_of_both_the_film_is_named():
  nets = ensemble.Ensemble([Net(9.0), pair()], weights=[0.0, 1.0])
  message = 'Film film1: expected a film of the sex M or F, .* got .unknown.'
  for one in (nets, pair()):
    with pytest.raises(ValueError, match=message):
      one.outputs(records(1, 0))
    found = one.predict(IMAGE, 'unknown')  # in rows 0 and 1
    assert found.age_predicted == (100 + 201) / 2


def test_weights_of_each_sex():
  nets = ensemble.Ensemble(
    [Net(0.0), pair()],
    weights=[0.5, 0.5],
    weights_by_sex={'M': [0.9, 0.1], 'F': [0.2, 0.8]},
  )
  outputs, _ = nets.outputs(records(1, -1, 0))
  np.testing.assert_allclose(outputs['age'], [10, 161, 2])


def test_nets_of_both_read_all_films_at_once():
  one = Net(10.0)
  ensemble.Ensemble([one, Net(20.0)]).outputs(records(1, -1, 0))
  assert one.seen == ['film0', 'film1', 'film2']


@pytest.fixture
def run(tmp_path, monkeypatch):
  """A run whose nets are made up, with an ensemble that weighs the sexes."""
  nets = {
    'both': Net(0.0),
    'boys': Net(100.0, 'M'),
    'girls': Net(200.0, 'F'),
    'idle': Net(999.0),
  }
  make = lambda config, stage, *rest: nets[stage]
  monkeypatch.setattr(predictor, 'Predictor', make)
  train = {'job': 'train', 'task': 'age', 'input': {'builder_config': ''}}
  config = {
    'format': config_lib.FORMAT,
    **{'name': 'made_up', 'variant': '', 'manual_dir': 'films'},
    'data': {'folds': 0, 'fold': -1},
    **dict.fromkeys(nets, train),
    'joined': {
      'job': 'ensemble',
      'members': ['both', 'boys+girls', 'idle'],
      'weights': 'mae',
    },
    'report': {'job': 'report', 'stage': 'joined'},
  }
  (tmp_path / 'config.json').write_text(json.dumps(config))
  weights = ((0.5, 0.9, 0.2), (0.5, 0.1, 0.8), (0, 0, 0))
  members = [
    {'mean': 1 / 3, 'mae': all_, 'by_sex': {'M': {'mae': m}, 'F': {'mae': f}}}
    for all_, m, f in weights
  ]
  result = {'weights': 'mae', 'members': members}
  (tmp_path / 'joined').mkdir()
  (tmp_path / 'joined/ensemble.json').write_text(json.dumps(result))
  return str(tmp_path)


def test_loaded_as_the_stage_found_them(run):
  nets = loading.load(run)
  assert [len(nets.members), nets.sexes] == [2, ALL]  # one has no weight
  ages = [nets.predict(IMAGE, sex).age_predicted for sex in ALL]
  # The sex unknown: in rows 0 and 1, so that the girl's age is 161.
  np.testing.assert_allclose(ages, [10, 160, (10 + 161) / 2])
  alone = loading.load(run, 'boys+girls')
  assert alone.predict(IMAGE, 'F').age_predicted == 200
  with pytest.raises(ValueError, match=r"Expected 'boys.both' to be stages of"):
    loading.load(run, 'boys+both')
