"""Damage of stored records is named."""

import json
import pathlib
import shutil

from array_record.python import array_record_module
import pytest

from boneage_jax.data import records
from boneage_jax.data import sources


def test_a_damaged_shard_names_its_films_and_the_remedy(prepared, tmp_path):
  folder = tmp_path / '2.1.0'
  shutil.copytree(prepared, folder)
  (shard,) = folder.glob('*.array_record*')
  shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
  (folder / 'films.csv').unlink(missing_ok=True)
  says = (
    rf'{shard} \(films 1 to 48 of train\) cannot be read .*damaged or gone.*'
    rf'Remove the folder {folder}, and done.json of the stage `prepare`'
  )
  with pytest.raises(ValueError, match=says):
    sources.load_films(str(folder))
  (folder / 'features.json').write_text('{')
  with pytest.raises(ValueError, match=f'{folder} cannot be read'):
    records.of_data_set(str(folder))


def test_positions_of_several_shards_are_those_of_their_splits(tmp_path):
  found = records.Records(
    [b'a', b'b'], lambda index: f'shard of {index}', 'Do this.'
  )
  assert list(found) == [b'a', b'b']
  with pytest.raises(IndexError):
    found[2]
  broken = records.Records(
    _Broken(), lambda index: f'shard of {index}', 'Do this.'
  )
  with pytest.raises(ValueError, match=r'shard of 1 .*hash.*Do this\.'):
    list(broken)


class _Broken:
  def __len__(self):
    return 2

  def __getitem__(self, index):
    if index:
      raise RuntimeError('hash mismatch\nmore')
    return b'a'


@pytest.mark.parametrize('keep', [0, 0.5])
def test_a_damaged_file_of_a_stage_names_the_stage(tmp_path, keep):
  path = tmp_path / 'regions/crops.array_record'
  path.parent.mkdir()
  writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
  for _ in range(3):
    writer.write(json.dumps(list(range(9999))).encode())
  writer.close()
  assert len(records.of_stage(str(path))) == 3
  data = path.read_bytes()
  pathlib.Path(path).write_bytes(data[: int(keep * len(data))])
  says = f'{path} cannot be read .* Remove the folder {path.parent} and run'
  with pytest.raises(ValueError, match=says):
    list(records.of_stage(str(path)))
