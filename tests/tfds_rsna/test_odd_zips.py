"""Zip files that Python cannot read, and links that lead in a circle."""

import os
import zipfile

from encode import encode
import numpy as np
import pytest

from tfds_rsna import layout

FILM = encode(np.arange(99, dtype=np.uint8).reshape(9, 11))


def archive(tmp_path, change):
  """A zip of two films, with `change` of flags and method in its list."""
  path = tmp_path / 'boneage-training-dataset.zip'
  with zipfile.ZipFile(path, 'w') as z:
    for name in ('1.png', '2.png'):
      z.writestr(name, FILM)
  data = bytearray(path.read_bytes())
  at = -1
  while (at := data.find(b'PK\1\2', at + 1)) >= 0:
    data[at + 8] |= change.get('flags', 0)
    data[at + 10] = change.get('method', 0)
  path.write_bytes(data)
  return tmp_path


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'flags': 1}, r'is encrypted \(1\.png\)'),
    ({'method': 9}, r'packed with method Deflate64, which Python does not'),
    ({'method': 98}, r'packed with method 98'),
  ],
)
def test_a_zip_that_python_cannot_read_is_refused_in_a_line(
  tmp_path, change, says
):
  with pytest.raises(ValueError, match=says) as caught:
    layout.find(str(archive(tmp_path, change)))
  assert '\n' not in str(caught.value)
  assert 'boneage-training-dataset.zip' in str(caught.value)
  assert 'zip -r' in str(caught.value)
  assert len(layout.find(str(archive(tmp_path, {}))).films['train']) == 2


def test_each_folder_is_visited_once(tmp_path):
  folder = tmp_path / 'train'
  folder.mkdir()
  (folder / '1.png').write_bytes(FILM)
  (folder / '2.tif').write_bytes(FILM)
  os.symlink('.', folder / 'again')
  os.symlink('..', folder / 'above')
  found = layout.find(str(tmp_path)).films['train']
  assert sorted(found) == [('', str(folder / f)) for f in ('1.png', '2.tif')]


@pytest.mark.parametrize('change', ['content', 'header', 'version', 'list'])
def test_a_damaged_zip_is_named(tmp_path, change):
  path, table = tmp_path / 'all.zip', b'id,boneage,male\n1,30,True\n'
  with zipfile.ZipFile(path, 'w') as z:
    z.writestr('train.csv', table)
  data = path.read_bytes()
  at = data.index(b'PK\1\2')  # the list
  found = {
    'content': data.replace(b'30', b'31', 1),
    'header': b'?' + data[1:],
    'version': data[: at + 6] + b'\xff' + data[at + 7 :],
    'list': data[: at + 44] + b'\xff' + data[at + 45 :],
  }[change]
  assert layout.read_bytes(str(path), 'train.csv') == table
  path.write_bytes(found)
  with pytest.raises(ValueError, match=r'all\.zip is not a whole zip file'):
    layout.read_bytes(str(path), 'train.csv')
  # Where nothing says that it is ours, it is listed as not read, or later.
  layout.find(str(tmp_path))
