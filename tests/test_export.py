"""A run as a model file and as StableHLO: the same ages, bit for bit."""

import json
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from boneage_jax import export
from boneage_jax.inference import dicom_out
from boneage_jax.inference import loading
from boneage_jax.inference import model_file
from boneage_jax.inference import net_inputs

pytestmark = pytest.mark.ci  # three nets are exported twice


@pytest.fixture(scope='module')
def made(combined, tmp_path_factory):
  """Folder with `model.zip` and `programs` of an ensemble in several views."""
  pytest.importorskip('flatbuffers')
  out = tmp_path_factory.mktemp('export')
  lines = export.export(
    str(combined / 'run'),
    str(out / 'model.zip'),
    programs=str(out / 'programs'),
  )
  assert 'synthetic films' in lines[0] and '3 nets' in lines[1]
  return out


def read(run, film):
  path = str(run / 'films' / f'{film}.png')
  return cv2.imread(path, cv2.IMREAD_GRAYSCALE)


def test_ages_are_those_of_the_run(combined, made, tmp_path):
  folder = model_file.open_model(str(made / 'model.zip'))
  nets, ours = loading.load(folder), loading.load(str(combined / 'run'))
  assert nets.basis == ours.basis
  settings = dicom_out.settings(ours, str(combined / 'run'))
  assert dicom_out.settings(nets, folder) == settings  # so are UIDs of objects
  nets.dump = net_inputs.Dump(nets, folder, str(tmp_path))
  films = [(read(combined, film), sex) for film in (1, 2) for sex in 'MF']
  for image, sex in films:
    found, expected = nets.predict(image, sex), ours.predict(image, sex)
    assert found.age_predicted == expected.age_predicted
    assert found.regions == expected.regions
    np.testing.assert_array_equal(found.overlay, expected.overlay)
  paths = sorted(map(str, tmp_path.glob('*.npz')))
  assert len(paths) == len(films)
  done = subprocess.run(
    [sys.executable, made / 'programs/example.py', folder, *paths],
    capture_output=True,
    check=True,
    text=True,
    env={**os.environ, 'PYTHONPATH': ''},  # it needs nothing of ours
  )
  said = dict(line.split() for line in done.stdout.splitlines())
  for path in paths:
    with np.load(path) as file:
      assert float(said[path]) == float(file['age'])  # bit for bit
  assert len(set(said.values())) == len(films)


def test_what_is_in_the_files(combined, made):
  folder = pathlib.Path(model_file.open_model(str(made / 'model.zip')))
  text = ''.join(p.read_text() for p in folder.rglob('*.json'))
  assert str(combined) not in text  # no place of this machine
  card = (folder / 'MODEL_CARD.md').read_text()
  for said in ('synthetic films', 'boneage_jax drew them', 'diagnosis'):
    assert said in card
  about = json.loads((made / 'programs/programs.json').read_text())
  manifest = json.loads((folder / 'manifest.json').read_text())
  for name, net in about['nets'].items():
    assert net['arrays'] == manifest['nets'][name]
    assert set(net['inputs']) <= {'image', 'regions', 'sex'}
    assert net['outputs']['age']['shape'] == ['films']
    for file in net['files'].values():
      assert (made / 'programs' / file).stat().st_size > 1000
  assert list(about['finders']) == ['localizer:maps']
  lines = (made / 'programs/example.py').read_text().splitlines()
  assert len(lines) <= 60


def test_a_name_that_is_taken(combined, tmp_path):
  (tmp_path / 'there').mkdir()
  with pytest.raises(ValueError, match='Expected a new folder or zip file'):
    export.export(str(combined / 'run'), str(tmp_path / 'there'), 'localizer')
