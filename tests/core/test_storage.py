"""Files in one step."""

import json

import pytest

from boneage_jax.core import storage


def test_paths_below_a_folder(tmp_path):
  folder = tmp_path / 'run[1]'
  for name in ('a/x.json', 'a/b/y.json', 'z.csv'):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
  found = lambda *pattern: [
    path.removeprefix(f'{folder}/')
    for path in storage.glob(str(folder), *pattern)
  ]
  assert found('*', '*.json') == ['a/x.json']
  assert found('**', '*.json') == ['a/b/y.json', 'a/x.json']
  assert found('?.csv') == ['z.csv']


@pytest.mark.parametrize(('mode', 'text'), [('w', 'ä\r\n'), ('wb', b'\xff\n')])
def test_a_file_is_old_until_it_is_new(tmp_path, mode, text):
  path = tmp_path / 'a'
  path.write_bytes(b'old')
  with storage.replacing(str(path), mode) as file:
    file.write(text)
    file.flush()
    assert path.read_bytes() == b'old'
  assert path.read_bytes() == (text.encode() if mode == 'w' else text)
  assert list(tmp_path.iterdir()) == [path]


def test_what_fails_half_way_changes_nothing(tmp_path):
  path = tmp_path / 'a.json'
  storage.write_json(str(path), {'b': [1, 2]}, indent=2)
  before = path.read_bytes()
  with pytest.raises(TypeError):
    storage.write_json(str(path), {'b': [1, 2], 'c': object()})
  assert path.read_bytes() == before
  assert json.loads(before) == {'b': [1, 2]}
  assert list(tmp_path.iterdir()) == [path]
