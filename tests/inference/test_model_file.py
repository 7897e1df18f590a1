"""Model files: complete, unchanged, and without anything that can execute."""

import hashlib
import json
import zipfile

import pytest

from boneage_jax.inference import model_file


def write(folder, **files):
  """A model file of made-up content, with a true manifest."""
  folder.mkdir()
  described = {}
  for name, text in {'config.json': '{}', **files}.items():
    (folder / name).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    described[name] = {'bytes': len(text), 'sha256': digest}
  manifest = {'format': model_file.FORMAT, 'files': described}
  (folder / 'manifest.json').write_text(json.dumps(manifest))
  return folder


def pack(folder, path, **more):
  with zipfile.ZipFile(path, 'w') as file:
    for one in folder.iterdir():
      file.write(one, one.name)
    for name, text in more.items():
      file.writestr(name.replace('__', '/'), text)
  return path


def test_a_folder_and_a_zip_of_it(tmp_path):
  folder = write(tmp_path / 'model')
  assert model_file.open_model(str(folder)) == str(folder)
  path = pack(folder, tmp_path / 'model.zip')
  copy = model_file.open_model(str(path))
  with open(f'{copy}/config.json') as file:
    assert file.read() == '{}'


def test_what_was_changed_is_refused(tmp_path):
  folder = write(tmp_path / 'model', **{'a.json': '[1]'})
  (folder / 'a.json').write_text('[2]')
  with pytest.raises(ValueError, match=r'a\.json as .* found another one'):
    model_file.open_model(str(folder))
  (folder / 'a.json').unlink()
  with pytest.raises(ValueError, match=r'a\.json as .* found no such file'):
    model_file.open_model(str(folder))
  (folder / 'a.json').write_text('[1]')
  (folder / 'b.json').write_text('[1]')
  with pytest.raises(
    ValueError, match=r'b\.json as .* one that it does not li'
  ):
    model_file.open_model(str(folder))


@pytest.mark.parametrize(
  'name', ['run.py', 'a.pkl', '..__up.json', '__abs.json', 'C:a.json']
)
def test_what_may_execute_or_lie_elsewhere_is_refused(tmp_path, name):
  path = pack(write(tmp_path / 'm'), tmp_path / 'm.zip', **{name: '1'})
  with pytest.raises(ValueError, match='expected files of a model alone'):
    model_file.open_model(str(path))
  assert not (tmp_path.parent / 'up.json').exists()


def test_what_is_no_model_is_refused(tmp_path):
  (tmp_path / 'config.json').write_text('{}')
  with pytest.raises(ValueError, match=r'manifest\.json .* got none: no model'):
    model_file.open_model(str(tmp_path))
  with pytest.raises(ValueError, match='Expected the folder or zip of a model'):
    model_file.open_model(str(tmp_path / 'nowhere'))


def test_no_place_of_the_machine_is_kept():
  content = {'a': ['/home/me/x', 'gs://mine/x', 'keep/x'], 'b': {'c': '/y'}}
  found = model_file._without_places(content)
  assert found == {'a': ['', '', 'keep/x'], 'b': {'c': ''}}
