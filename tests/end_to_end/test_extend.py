"""Commands of docs/how-to/extend.md, as a user gives them outside the clone."""

import csv
import json
import os
import re
import subprocess
import sys

from encode import encode
import numpy as np
import own_modules
import pages
import pytest

from boneage_jax import api
from boneage_jax import predict
from boneage_jax.runs import run as run_lib

TINY = (
  *('--config.phantom.films=24', '--config.phantom.long_side=96'),
  *('--config.whole_image.input.size=32', '--config.whole_image.steps=1'),
  '--config.whole_image.batch_size=4',
  '--config.whole_image.eval_batch_size=4',
)
ENV = {
  'PYTHONPATH': str(own_modules.PAGE.parents[2]),
  'JAX_NUM_CPU_DEVICES': '1',
}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """A folder with the files of the page, and a film."""
  folder = tmp_path_factory.mktemp('outside')
  own_modules.write_examples(folder)
  film = np.tile(np.arange(96, dtype=np.uint8), (96, 1))
  (folder / 'film.png').write_bytes(encode(film))
  return folder


@pytest.fixture(scope='module')
def commands():
  """Commands of the page; the key is their number among those of a module."""
  found = {}
  text = own_modules.PAGE.read_text(encoding='utf-8')
  for module, *words in pages.commands(text):
    found.setdefault(module, []).append(words)
  return found


@pytest.fixture(scope='module')
def run(place):
  """Function that gives a command in that folder; returns what it wrote."""

  def go(module, *words):
    done = subprocess.run(
      [sys.executable, '-m', module, *words],
      cwd=place,
      env=os.environ | ENV,
      capture_output=True,
      text=True,
      timeout=600,
      check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

  return go


@pytest.mark.ci
def test_a_backbone_is_trained_exported_and_predicts(
  place, commands, run, monkeypatch, capsys
):
  small = commands['boneage_jax.main'][0]
  run('boneage_jax.main', *small, *TINY, '--config.stages=prepare,whole_image')
  kept = json.loads((place / 'runs/small/config.json').read_text())
  assert kept['imports'] == ['my_nets']
  assert kept['whole_image']['net']['backbone'] == {
    **dict(name='small', depth=5, channels=16),
  }
  of_run, of_model = commands['boneage_jax.predict']
  run('boneage_jax.export', *commands['boneage_jax.export'][0])
  said = run('boneage_jax.predict', *of_model, '--format=csv', '--force')
  (row,) = csv.DictReader(said.splitlines())
  with own_modules.folder(place, monkeypatch):
    assert run_lib.read_run('runs/small').rows['id'].size  # without its code
    with pytest.raises(SystemExit):
      predict.main([word for word in of_run if 'imports' not in word])
    message = 'Error: Expected --imports=my_nets, as the run in '
    assert message in str(capsys.readouterr().err)
    with pytest.raises(ValueError, match=r"load\(RUN, imports='my_nets'\)"):
      api.load('runs/small')
    loaded = api.load('runs/small', imports='my_nets')
    (one,) = loaded.predict('film.png', sex='F')
    assert abs(one.age_predicted - float(row['age_predicted'])) < 0.1
    assert np.isfinite(loaded.heatmap('film.png', sex='F')['film']).all()


@pytest.mark.ci
def test_an_ordinal_net_is_trained_by_a_task_and_a_job(place, commands, run):
  *_, ranking, of_file = commands['boneage_jax.main']
  of_net = [
    w for w in ranking if 'whole_image.' in w and 'whole_image.py' not in w
  ]
  said = run(
    *('boneage_jax.main', *of_file, *of_net, *TINY),
    *(
      '--imports=my_nets,ordinal',
      '--config.whole_image.net.backbone.name=small',
    ),
  )
  assert 'validation 90 % within ' in said
  assert re.search(r'^film \d+: [+-][\d.]+ months$', said, re.M)
  assert 'rises' in (place / 'runs/worst/whole_image/metrics.jsonl').read_text()
  kept = json.loads((place / 'runs/worst/config.json').read_text())
  assert kept['imports'] == ['my_jobs', 'my_nets', 'ordinal']
  assert kept['whole_image']['loss']['monotonic'] == 0.02
