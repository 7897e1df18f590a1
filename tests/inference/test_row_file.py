"""One predictions.csv of rows that come over days, and of a full disk."""

import types

import pytest

from boneage_jax.core import storage
from boneage_jax.inference import row_file


def test_rows_are_there_before_the_next_film(tmp_path):
  path = tmp_path / 'predictions.csv'
  with row_file.RowFile(str(tmp_path)) as table:
    table.add({'file': 'a', 'sex': 'F'})
    assert path.read_text() == 'file,sex\na,F\n'
    table.add({'file': 'b', 'sex': 'M'})
    assert path.read_text() == 'file,sex\na,F\nb,M\n'
    table.add({'file': 'c', 'sex': 'M', 'lo80': '1'})  # of other nets
    assert path.read_text() == 'file,sex,lo80\na,F,\nb,M,\nc,M,1\n'
  with row_file.RowFile(str(tmp_path)) as table:
    assert all(name in table for name in 'abc')
    assert not table.claim('a')
    assert table.claim('d')
    table.add({'file': 'd', 'sex': 'M'})
    assert [row['file'] for row in table.finish('dbca')] == list('dbca')
  assert path.read_text().splitlines()[1:] == ['d,M,', 'b,M,', 'c,M,1', 'a,F,']


def test_a_half_written_row_is_written_again(tmp_path):
  path = tmp_path / 'predictions.csv'
  path.write_text('file,sex\na,F\nb,')  # killed meanwhile
  with row_file.RowFile(str(tmp_path)) as table:
    assert 'b' not in table
    assert table.claim('b')
    table.add({'file': 'b', 'sex': 'M'})
  assert path.read_text() == 'file,sex\na,F\nb,M\n'


def test_two_tables_of_one_folder_learn_of_each_other(tmp_path):
  with (
    row_file.RowFile(str(tmp_path)) as one,
    row_file.RowFile(str(tmp_path)) as other,
  ):
    one.add({'file': 'a'})
    assert not other.claim('a')
    other.add({'file': 'b', 'more': '1'})  # a new file, of more columns
    one.add({'file': 'c'})
    assert not one.claim('b')
    assert one.finish('abc') == [
      {'file': 'a', 'more': ''},
      {'file': 'b', 'more': '1'},
      {'file': 'c', 'more': ''},
    ]


def test_a_damaged_table_is_named(tmp_path):
  (tmp_path / 'predictions.csv').write_text('file,sex\na,F,3\n')
  with pytest.raises(ValueError, match=r'2 cells in line 2 of .*csv'):
    row_file.RowFile(str(tmp_path))


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
  path = tmp_path / 'predictions.csv'
  with row_file.RowFile(str(tmp_path)) as table:
    table.add({'file': 'a'})
    real = open

    def short(*args, **kwargs):
      file = real(*args, **kwargs)
      if 'a' not in args[1]:
        return file
      write = lambda data: file.write(data[:1])
      return _With(
        types.SimpleNamespace(write=write, truncate=file.truncate), file
      )

    monkeypatch.setattr(row_file, 'open', short, raising=False)
    with pytest.raises(OSError, match='No space left'):
      table.add({'file': 'b'})
    monkeypatch.undo()
    assert path.read_text() == 'file\na\n'
    table.add({'file': 'c'})
    assert path.read_text() == 'file\na\nc\n'


def test_settings_are_those_of_the_first(tmp_path):
  with row_file.RowFile(str(tmp_path)) as table:
    table.check({'sex': 'F', 'ages': {'F': 100.0}})
    table.check({'sex': 'F', 'ages': {'F': 100.0009}})
    with pytest.raises(ValueError, match='ages differ'):
      table.check({'sex': 'F', 'ages': {'F': 100.0011}})
    with pytest.raises(ValueError, match='ages, sex differ'):
      table.check({'sex': 'M', 'ages': {'M': 100.0}})
  path = str(tmp_path / row_file.SETTINGS)
  assert storage.read_json(path) == {'sex': 'F', 'ages': {'F': 100.0}}


class _With:
  def __init__(self, given, file):
    self.given, self.file = given, file

  def __enter__(self):
    return self.given

  def __exit__(self, *error):
    self.file.close()
