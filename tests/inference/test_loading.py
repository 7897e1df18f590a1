"""Nets that compute in another type than that of their training."""

import jax
import pytest
import run_films

from boneage_jax.core import config as config_lib
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.inference import loading


def test_a_dtype_rounds_what_all_nets_compute(untrained):
  run = str(untrained / 'run')
  film = run_films.rows(untrained / 'run/assessor/predictions.csv')[0]
  image = run_films.read(untrained, film['id'])
  ages = {}
  for dtype in ('', 'float32', 'bfloat16'):
    nets = loading.load(run, 'localizer', dtype=dtype)
    ages[dtype] = nets.predict(image, film['sex']).age_predicted
  assert ages[''] == ages['float32']  # of its training
  assert 0 < abs(ages['bfloat16'] - ages['float32']) < 2


@pytest.fixture
def rounded(untrained, tmp_path):
  """Folder with the config of a run whose assessor computes in bfloat16."""
  config = config_lib.read_config(stages.config_path(str(untrained / 'run')))
  config.assessor.net.dtype = 'bfloat16'
  path = stages.config_path(str(tmp_path))
  storage.write_json(path, config_lib.to_json(config))
  return str(tmp_path)


def test_what_is_slow_on_a_cpu_is_said(monkeypatch, untrained, rounded):
  assert loading.slow(str(untrained / 'run')) == ''
  assert 'give --dtype=float32' in loading.slow(rounded)
  assert loading.slow(rounded, dtype='float32') == ''
  assert loading.slow(rounded, 'localizer') == ''  # that net is another
  assert loading.slow(str(untrained / 'run'), dtype='bfloat16')
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert loading.slow(rounded) == ''


def test_a_dtype_that_is_none_is_refused(untrained):
  with pytest.raises(ValueError, match=r"net.dtype='float16' is none"):
    loading.load(str(untrained / 'run'), 'localizer', dtype='float16')
