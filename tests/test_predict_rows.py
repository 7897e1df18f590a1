"""Rows as they come, and names of files as they are."""

import csv
import os
import types

from encode import encode
import made_prediction
import numpy as np
import pytest

from boneage_jax import predict
from boneage_jax.inference import tables

FILM = encode(np.arange(64, dtype=np.uint8).reshape(8, 8))


class Fake:
  """Says 100 months, and fails at the film `at` with `error`."""

  inverted = False

  def __init__(self, at=0, error=None):
    self.count, self.at, self.error = 0, at, error

  def predict(self, image, sex):
    self.count += 1
    if self.count == self.at:
      raise self.error
    return made_prediction.made(sex=sex)


def run(folder, names, predictor):
  """Predicts films of these names; returns what was bad."""
  folder.mkdir(exist_ok=True)
  paths = []
  for name in names:
    path = os.path.join(os.fsencode(folder), name)
    with open(path, 'wb') as file:
      file.write(FILM)
    paths.append(os.fsdecode(path))
  return predict.predict_films(predictor, paths, 'F', str(folder / 'out'))


def files(folder):
  with open(folder / 'out/predictions.csv', newline='', encoding='utf-8') as f:
    return [os.path.basename(row['file']) for row in csv.DictReader(f)]


def test_names_of_any_bytes_and_length(tmp_path, capsys):
  names = [b'a.png', b'caf\xe9.png', b'\x1b[2Jx.png', b'y' * 251 + b'.png']
  assert not run(tmp_path, names, Fake())
  shown = ['a.png', 'caf\\xe9.png', '\\x1b[2Jx.png', 'y' * 251 + '.png']
  assert files(tmp_path) == shown
  lines = capsys.readouterr().out.splitlines()
  assert [os.path.basename(x.partition(': ')[0]) for x in lines] == shown
  pictures = sorted(path.name for path in (tmp_path / 'out').glob('*.png'))
  assert pictures == [
    '001_a.png', '002_caf_xe9.png', '003__x1b[2Jx.png',
    f'004_{"y" * 200}.png',
  ]  # fmt: skip


def test_a_name_that_is_a_formula_gets_an_apostrophe(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / '=1+1.png').write_bytes(FILM)
  assert not predict.predict_films(Fake(), ['=1+1.png'], 'F', 'out')
  assert files(tmp_path) == ["'=1+1.png"]


@pytest.mark.parametrize('error', [KeyboardInterrupt(), OSError(28, 'full')])
def test_a_command_that_ends_early_leaves_its_rows(
  tmp_path, monkeypatch, error, capsys
):
  names = [b'none.png', b'a.png', b'b.png', b'c.png']
  real = tables.File.add

  def add(self, row):
    if len(self) == 2:
      raise error
    real(self, row)

  monkeypatch.setattr(tables.File, 'add', add)
  monkeypatch.setattr(
    predict.film_file,
    'read',
    _refuse_first(predict.film_file.read),
  )
  with pytest.raises(type(error)):
    run(tmp_path, names, Fake())
  assert files(tmp_path) == ['a.png', 'b.png']
  assert 'none.png: no film.' in capsys.readouterr().err


def _refuse_first(read):
  def read_or_refuse(path, limits=None):
    if path.endswith('none.png'):
      raise ValueError('no film.')
    return read(path, limits)

  return read_or_refuse


def test_no_film_ends_the_command(tmp_path):
  error = RuntimeError('RESOURCE_EXHAUSTED: out of memory\nand a page')
  (bad,) = run(tmp_path, [b'a.png', b'b.png', b'c.png'], Fake(2, error))
  assert bad.endswith(
    'b.png: Cannot be predicted: RuntimeError: RESOURCE_EXHAUSTED: out of '
    'memory.'
  )
  assert files(tmp_path) == ['a.png', 'c.png']


def test_rows_are_there_before_the_next_film(tmp_path):
  path = tmp_path / 'predictions.csv'
  path.write_text('of a former command')
  table = tables.File(str(path))
  assert path.read_text() == 'of a former command'
  table.add({'file': 'a', 'sex': 'F'})
  assert path.read_text() == 'file,sex\na,F\n'
  table.add({'file': 'b', 'sex': 'M'})
  assert path.read_text() == 'file,sex\na,F\nb,M\n'
  table.add({'file': 'c', 'sex': 'M', 'lo80': '1'})  # of other nets
  assert path.read_text() == 'file,sex,lo80\na,F,\nb,M,\nc,M,1\n'


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
  path = tmp_path / 'predictions.csv'
  table = tables.File(str(path))
  table.add({'file': 'a'})
  real = open

  def short(*args, **kwargs):
    file = real(*args, **kwargs)
    write = lambda data: file.write(data[:1])
    return _With(
      types.SimpleNamespace(write=write, truncate=file.truncate), file
    )

  monkeypatch.setattr(tables, 'open', short, raising=False)
  with pytest.raises(OSError, match='No space left'):
    table.add({'file': 'b'})
  monkeypatch.undo()
  assert path.read_text() == 'file\na\n'
  table.add({'file': 'c'})
  assert path.read_text() == 'file\na\nc\n'


class _With:
  def __init__(self, given, file):
    self.given, self.file = given, file

  def __enter__(self):
    return self.given

  def __exit__(self, *error):
    self.file.close()
