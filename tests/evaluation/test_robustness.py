"""Robustness on runs of untrained nets."""

import csv
import json

import matplotlib.image
import numpy as np
import pytest

from boneage_jax import evaluate
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.evaluation import robustness
from boneage_jax.imaging import codec
from boneage_jax.imaging import corruptions
from boneage_jax.inference import loading
from boneage_jax.runs import run as run_lib

CASES = [c for c in corruptions.CASES if c.name in ('mirror', 'noise')]


@pytest.fixture(scope='module')
def run(untrained):
  return untrained / 'run'


@pytest.mark.parametrize('stage', ['assessor', 'whole_image'])
def test_ages_are_those_of_the_run_and_of_films_one_by_one(run, stage):
  one = run_lib.read_run(f'{run}:{stage}')
  predictor = loading.load(str(run), stage, batch_size=3)
  assert predictor.inverted == (stage == 'assessor')
  films, _ = selection.split_films(one.config, run, predictor.builder_config)
  films = selection.select_split(films, 'test')
  folder = sources.prepared_folder(run, predictor.builder_config)
  source = sources.film_source(folder, films)
  ages, flagged = robustness.estimates(predictor, source, CASES)
  assert ages.shape == (1 + len(CASES), len(films['id']))
  of = one.rows['split'] == 'test'
  assert films['id'].tolist() == one.rows['id'][of].tolist()
  np.testing.assert_allclose(ages[0], one.rows['prediction'][of], atol=2e-3)
  alone = loading.load(str(run), stage)
  sex = 'M' if films['sex'][1] > 0 else 'F'
  film = codec.decode_stored(source[1]['image'])
  assert flagged.shape == ages.shape
  for case, row, flags in zip(CASES, ages[1:], flagged[1:], strict=True):
    # Noise and mirror image are the same of a film and of its negative.
    corrupted = case(255 - film if predictor.inverted else film, films['id'][1])
    corrupted = 255 - corrupted if predictor.inverted else corrupted
    found = alone.predict(corrupted, sex)
    assert row[1] == pytest.approx(found.age_predicted, abs=2e-3)
    assert flags[1] == bool(found.quality_flags)


def test_effect_is_what_numpy_says():
  rng = np.random.default_rng(0)
  age, plain, corrupted = rng.normal(100, 30, (3, 50))
  flagged = np.arange(50) < 20
  found = robustness.effect(age, plain, corrupted, flagged)
  assert found['flagged'] == 0.4
  kept = np.abs(corrupted - age)[20:].mean() - np.abs(plain - age)[20:].mean()
  assert found['trusted_change'] == pytest.approx(kept)
  few = robustness.effect(age, plain, corrupted, np.arange(50) < 45)
  assert 'trusted_change' not in few and few['change'] == found['change']
  error = np.abs(corrupted - age), np.abs(plain - age)
  assert found['mae'] == pytest.approx(error[0].mean())
  assert found['change'] == pytest.approx(error[0].mean() - error[1].mean())
  assert found['bias_change'] == pytest.approx((corrupted - plain).mean())
  assert found['moved'] == np.mean(np.abs(corrupted - plain) > 12)
  for name in ('change', 'bias_change'):
    low, high = found[f'{name}_ci95']
    assert low < found[name] < high


def test_command(run, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(
    corruptions, 'CASES', corruptions.CASES[:2] + tuple(CASES[:1])
  )
  options = ['--films=2', f'--out={tmp_path / "out"}']
  evaluate.main(['robustness', f'{run}:whole_image', *options])
  printed = capsys.readouterr().out
  assert '2 test films' in printed and 'labels (train) sha256' in printed
  result = json.loads((tmp_path / 'out/robustness.json').read_text())
  assert len(result['films']) == result['plain']['n'] == 2
  assert [row['name'] for row in result['rows']] == ['rotation'] * 2 + [
    'mirror'
  ]
  for line, row in zip(lines(tmp_path / 'out'), result['rows'], strict=True):
    assert float(line['change']) == row['change']
    assert line['bias_change_ci95_high'] == ''  # of two films
  for row in result['rows']:
    row['bias_change_ci95'] = [-1.5, 2.5]
  robustness.write_robustness(str(tmp_path), result)
  for line in lines(tmp_path):
    assert float(line['bias_change_ci95_high']) == 2.5
  picture = matplotlib.image.imread(tmp_path / 'out/robustness.png')
  assert picture.std() > 0.1


@pytest.mark.parametrize('count', [0, -1])
def test_too_few_films_are_refused(run, count):
  with pytest.raises(SystemExit, match=f'Error: .*--films.* got {count}'):
    evaluate.main(['robustness', f'{run}:whole_image', f'--films={count}'])


def lines(folder):
  with open(folder / 'robustness.csv', newline='') as file:
    return list(csv.DictReader(file))


def test_an_ensemble_has_no_net(run, tmp_path, capsys):
  names = [f'{run}:assessor', f'{run}:whole_image']
  evaluate.main(['ensemble', *names, f'--out={tmp_path}'])
  with pytest.raises(SystemExit, match='folder of a run, got the ensemble'):
    evaluate.main(['robustness', str(tmp_path)])
