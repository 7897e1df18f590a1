"""The commands of own_data.md, then an external test of their run."""

import csv
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pages
import pytest

from boneage_jax import evaluate
from boneage_jax import export
from boneage_jax.phantom import __main__ as phantom

pytestmark = pytest.mark.ci
PAGE = pages.ROOT / 'docs/how-to/own_data.md'
QUICK = (
  '--config.data.folds=2',
  '--config.data.test_fraction=0.2',
  *('--config.whole_image.epochs=1', '--config.whole_image.input.size=32'),
  *('--config.whole_image.net.backbone.width=0.1', '--config.data_dir=data'),
)


def ages(path):
  with open(path, newline='') as file:
    return {r['id']: float(r['age_predicted']) for r in csv.DictReader(file)}


def test_from_a_table_to_an_external_test(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'configs').symlink_to(pages.ROOT / 'configs')
  commands = pages.commands(PAGE.read_text(encoding='utf-8'))
  (draw,) = (c[1:] for c in commands if c[0] == 'boneage_jax.phantom')
  small = ['--films=48', '--long_side=96', '--workers=1']
  phantom.main([*draw, *small])
  phantom.main(['--out=others', '--films=6', '--seed=9', *small[1:]])
  train = next(c for c in commands if 'phantoms/films.csv' in ' '.join(c))
  done = subprocess.run(
    [sys.executable, '-m', *train, *QUICK],
    env=os.environ | {'PYTHONPATH': str(pages.ROOT)},
    capture_output=True, text=True, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stdout + done.stderr
  assert 'mine, phantoms: 48 films' in done.stdout
  with open('data/tfds_rsna/original/2.1.0/films.csv', newline='') as file:
    films = list(csv.DictReader(file))
  assert len({row['study'] for row in films}) == 12  # four visits of a hand
  call = ['external', 'runs/own', '--data=others', '--out=out']
  evaluate.main(call)
  said = capsys.readouterr().out
  assert "the run's own validation films" in said or 'own test films' in said
  found = json.loads((tmp_path / 'out/external.json').read_text())
  assert cv2.imread('out/bland_altman.png').std() > 0
  assert found['checked'] and found['data']['phantom']
  with open('others/films.csv', newline='') as file:
    truth = [float(row['age_true']) for row in csv.DictReader(file)]
  predicted = ages('out/predictions.csv')
  error = [predicted[str(k + 1)] - truth[k] for k in range(6)]
  assert found['errors']['mae'] == pytest.approx(np.abs(error).mean(), abs=1e-3)
  with pytest.raises(SystemExit, match='that trained or chose its nets'):
    evaluate.main([*call[:2], '--data=phantoms/films.csv', '--out=seen'])
  export.main(['--workdir=runs/own', '--out=model.zip'])
  evaluate.main(['external', 'model.zip', '--data=others', '--out=by_file'])
  assert 'prepared data are not here' in capsys.readouterr().err
  assert ages('by_file/predictions.csv') == pytest.approx(predicted, abs=1e-2)
