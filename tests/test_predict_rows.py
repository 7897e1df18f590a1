"""Rows as they come, and names of files as they are."""

import csv
import json
import os
import subprocess
import sys
import textwrap

from encode import encode
import fake_nets
import numpy as np
import pytest

from boneage_jax import predict
from boneage_jax.core import scalars
from boneage_jax.data import film_table
from boneage_jax.inference import film_list
from boneage_jax.inference import row_file


def film(first=0):
  image = np.arange(64, dtype=np.uint8).reshape(8, 8)
  image[0, 0] = first
  return encode(image)


def write(folder, names):
  """Writes films whose first pixels are 1, 2, ...; returns their paths."""
  folder.mkdir(exist_ok=True)
  paths = [os.path.join(os.fsencode(folder), name) for name in names]
  for number, path in enumerate(paths, start=1):
    with open(path, 'wb') as file:
      file.write(film(number))
  return list(map(os.fsdecode, paths))


def run(folder, names, nets, out='out'):
  """Predicts films of these names; returns what was bad."""
  paths = write(folder, names)
  return predict.predict_films(nets, paths, 'F', str(folder / out))


def rows(folder):
  with open(folder / 'predictions.csv', newline='', encoding='utf-8') as f:
    return list(csv.DictReader(f))


def files(folder):
  return [os.path.basename(row['file']) for row in rows(folder / 'out')]


def test_names_of_any_bytes_and_length(tmp_path, capsys):
  names = [b'a.png', b'caf\xe9.png', b'\x1b[2Jx.png', b'y' * 251 + b'.png']
  assert not run(tmp_path, names, fake_nets.FakeNets())
  shown = ['a.png', 'caf\\xe9.png', '\\x1b[2Jx.png', 'y' * 251 + '.png']
  assert files(tmp_path) == shown
  lines = capsys.readouterr().out.splitlines()
  assert [os.path.basename(x.partition(': ')[0]) for x in lines] == shown
  pictures = [row['picture'] for row in rows(tmp_path / 'out')]
  assert {path.name for path in (tmp_path / 'out').glob('*.png')} == {*pictures}
  assert [name[:-13] for name in pictures] == [
    'a', 'caf_xe9', '_x1b[2Jx', 'y' * 200,
  ]  # fmt: skip


def test_a_name_that_is_a_formula_gets_an_apostrophe(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / '=1+1.png').write_bytes(film())
  nets = fake_nets.FakeNets()
  for _ in range(2):  # it is known again, too
    assert not predict.predict_films(nets, ['=1+1.png'], 'F', 'out')
    assert files(tmp_path) == ["'=1+1.png"]


@pytest.mark.parametrize('error', [KeyboardInterrupt(), OSError(28, 'full')])
def test_a_command_that_ends_early_leaves_its_rows(
  tmp_path, monkeypatch, error, capsys
):
  names = [b'none.png', b'a.png', b'b.png', b'c.png']
  real = row_file.RowFile.add

  def add(self, row):
    if row['file'].endswith('c.png'):
      raise error
    real(self, row)

  nets = fake_nets.FakeNets(1, bad=1, error=ValueError('no film.'))
  with monkeypatch.context() as patch:
    patch.setattr(row_file.RowFile, 'add', add)
    with pytest.raises(type(error)):
      run(tmp_path, names, nets)
  assert files(tmp_path) == ['a.png', 'b.png']
  assert 'none.png: no film.' in capsys.readouterr().err
  (bad,) = run(tmp_path, names, nets)  # goes on with those that lack a row
  assert bad.endswith('none.png: no film.')
  assert files(tmp_path) == ['a.png', 'b.png', 'c.png']
  assert [age - 99 for age in nets.seen if age < 110].count(2) == 1


def test_no_film_ends_the_command(tmp_path):
  """Of a batch with a bad film the others are read."""
  error = RuntimeError('RESOURCE_EXHAUSTED: out of memory\nand a page')
  nets = fake_nets.FakeNets(3, bad=2, error=error)
  (bad,) = run(tmp_path, [b'a.png', b'b.png', b'c.png'], nets)
  assert bad.endswith(
    'b.png: Cannot be predicted: RuntimeError: RESOURCE_EXHAUSTED: out of '
    'memory.'
  )
  assert files(tmp_path) == ['a.png', 'c.png']


def test_rows_are_the_same_in_any_order_and_however_often_it_ended(tmp_path):
  names = [f'{k}.png'.encode() for k in range(9)]
  paths = write(tmp_path, names)
  go = lambda films, out: predict.predict_films(
    fake_nets.FakeNets(), films, 'M', str(tmp_path / out)
  )
  go(paths, 'once')
  whole = (tmp_path / 'once/predictions.csv').read_bytes()
  for some in ([paths[6], paths[2]], [paths[7]], paths):
    go(some, 'often')
  assert (tmp_path / 'often/predictions.csv').read_bytes() == whole
  go(paths[::-1], 'back')
  back = (tmp_path / 'back/predictions.csv').read_bytes()
  assert back != whole
  assert sorted(back.splitlines()) == sorted(whole.splitlines())
  assert [row['age_predicted'] for row in rows(tmp_path / 'once')] == [
    f'{102 + k:.4f}' for k in range(9)
  ]


def test_rows_of_other_nets_are_not_mixed(tmp_path):
  paths = write(tmp_path, [b'a.png'])
  out = str(tmp_path / 'out')
  go = lambda nets, sex='F': predict.predict_films(nets, paths, sex, out)
  go(fake_nets.FakeNets())
  for nets, sex, why in (
    (fake_nets.FakeNets(base=100.01), 'F', r'\(ages differ'),
    (fake_nets.FakeNets(), 'M', r'\(sex differ'),
    (fake_nets.FakeNets(4), 'F', r'\(batch_size differ'),
  ):
    with pytest.raises(ValueError, match=why):
      go(nets, sex)
  go(fake_nets.FakeNets(base=100.0001))  # another machine
  (tmp_path / 'out/predictions.json').unlink()
  with pytest.raises(ValueError, match='rows alone'):
    go(fake_nets.FakeNets())


def test_rows_of_halves_and_of_whole_films_are_not_mixed(tmp_path):
  films = [film_list.of_file(path) for path in write(tmp_path, [b'a.png'])]
  go = lambda two_hands, out: predict.predict_films(
    fake_nets.FakeNets(), film_list.cut(films, two_hands), 'F', str(out)
  )
  go('', tmp_path / 'whole')
  with pytest.raises(ValueError, match=r'\(two_hands differ'):
    go('both', tmp_path / 'whole')
  go('both', tmp_path / 'halves')
  for other in ('', 'left'):
    with pytest.raises(ValueError, match=r'\(two_hands differ'):
      go(other, tmp_path / 'halves')
  go('both', tmp_path / 'halves')
  names = [row['file'].rsplit('#')[-1] for row in rows(tmp_path / 'halves')]
  assert names == ['left', 'right']


def test_processes_share_a_table(tmp_path):
  """Each film is read once; what one has claimed, the other leaves."""
  paths = write(tmp_path, [b'a.png', b'b.png', b'c.png'])
  out, nets = tmp_path / 'out', fake_nets.FakeNets()
  predict.predict_films(nets, paths[:1], 'F', str(out))
  text = textwrap.dedent("""
    import sys
    from boneage_jax.inference import row_file
    with row_file.RowFile(sys.argv[1]) as rows:
      print(*(int(rows.claim(name)) for name in sys.argv[2:]), flush=True)
      sys.stdin.read()
  """)
  other = subprocess.Popen(
    [sys.executable, '-c', text, str(out), *paths[:2]],
    env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    assert other.stdout.readline() == '0 1\n'  # a has a row, b has not
    predict.predict_films(nets, paths, 'F', str(out))
    assert files(tmp_path) == ['a.png', 'c.png']
  finally:
    other.kill()  # and the system frees what it claimed
    other.communicate()
  predict.predict_films(nets, paths, 'F', str(out))
  assert files(tmp_path) == ['a.png', 'b.png', 'c.png']
  read = [age for age in nets.seen if age < 110]
  assert sorted(read) == [100, 101, 102]


def test_a_table_with_true_ages_ends_in_their_errors(tmp_path, capsys):
  write(tmp_path, [b'a.png', b'b.png', b'c.png'])
  table = tmp_path / 'films.csv'
  table.write_text(
    'file,sex,age_true,group\na.png,M,100,north\nb.png,F,105,\nc.png,,90,north\n'
  )
  found = film_list.find([], film_list.Archives(), str(table))
  nets = fake_nets.FakeNets()
  assert not predict.predict_films(nets, found.films, 'unknown', None)
  lines = capsys.readouterr().out.splitlines()
  all_films = next(line.split() for line in lines if line.startswith('all '))
  # Errors of 2, -4 and 13 months.
  assert all_films[1:3] == ['3', f'{(2 + 4 + 13) / 3:.2f}']
  assert any(line.split()[:3] == ['north', '2', '7.50'] for line in lines)
  assert lines[0].startswith('a.png: ')


@pytest.mark.parametrize(
  ('line', 'why'),
  [
    ('a.png,F,100,north', 'a.png: sex M, now F'),
    ('a.png,M,101.5,north', 'a.png: age_true 100, now 101.5'),
    ('a.png,M,100.05,north', 'a.png: age_true 100, now 100.05'),
    ('a.png,M,,north', 'a.png: age_true 100, now none'),
    ('a.png,M,100,south', 'a.png: group north, now south'),
  ],
)
def test_rows_of_a_table_that_was_changed_are_not_kept_in_silence(
  tmp_path, line, why
):
  write(tmp_path, [b'a.png', b'b.png'])
  table, out = tmp_path / 'films.csv', str(tmp_path / 'out')

  def go(first):
    table.write_text(f'file,sex,age_true,group\n{first}\nb.png,F,105.25,\n')
    found = film_list.find([], film_list.Archives(), str(table))
    return predict.predict_films(fake_nets.FakeNets(), found.films, None, out)

  go('a.png,M,100,north')
  before = (tmp_path / 'out/predictions.csv').read_bytes()
  go('a.png,M,100,north')
  with pytest.raises(ValueError, match='The table says other things') as error:
    go(line)
  assert why in str(error.value)
  assert (tmp_path / 'out/predictions.csv').read_bytes() == before


@pytest.mark.parametrize('view', ['csv', 'jsonl'])
def test_formats(tmp_path, capsys, view):
  paths = write(tmp_path, [b'a.png', b'b, "c".png'])
  predict.predict_films(fake_nets.FakeNets(), paths, 'F', None, view=view)
  lines = capsys.readouterr().out.splitlines()
  found = list(csv.DictReader(lines))
  if view == 'jsonl':
    found = list(map(json.loads, lines))
    assert found[0]['age_predicted'] == 100
  assert [row['file'] for row in found] == paths
  assert [float(row['age_predicted']) for row in found] == [100, 101]


def test_nothing_read_is_told_from_some(tmp_path, capsys):
  (tmp_path / 'words.txt').write_text('no film')
  code = _exit(str(tmp_path), '--workdir=nowhere')
  output = capsys.readouterr().err
  assert code == 2
  assert '1 other files passed over.\nNo films found.' in output
  assert _exit(f'--table={tmp_path}/words.txt', '--workdir=nowhere') == 2
  assert 'file and sex' in capsys.readouterr().err


def _exit(*arguments):
  with pytest.raises(SystemExit) as stop:
    predict.main(arguments)
  return stop.value.code


def test_listed_names_are_columns():
  fields = {*film_table.Listed._fields} - {'line', 'scalars'}
  assert {*film_table.listed()} == {*fields, *scalars.SCALARS}
  assert 'chronological_age' in scalars.SCALARS
  assert {'file', 'sex', 'age_true', 'group'} <= fields


def test_a_refused_film_has_a_row_without_an_age(tmp_path, capsys):
  """And is named again by a command that finds its row."""
  nets = fake_nets.FakeNets()
  nets.checks = fake_nets.FakeChecks(blank=2)
  names = [b'1.png', b'2.png', b'3.png']
  (bad,) = run(tmp_path, names, nets)
  assert bad.endswith('2.png: refused, no age: blank (1.00, limit 0.50)')
  assert '2.png: refused, no age' in capsys.readouterr().out
  first, refused, _ = rows(tmp_path / 'out')
  assert refused['age_predicted'] == '' and refused['status'] == 'refused'
  assert refused['blank_value'] == '1.0000' and first['status'] == 'ok'
  (bad,) = run(tmp_path, names, nets)
  assert bad.endswith('2.png: refused, no age: blank')
  paths = write(tmp_path, names)
  forced = str(tmp_path / 'forced')
  assert not predict.predict_films(nets, paths, 'F', forced, force=True)
  (row,) = rows(tmp_path / 'forced')[1:2]
  assert float(row['age_predicted']) == 101 and row['status'] == 'refused'
  with pytest.raises(ValueError, match='force differ'):
    predict.predict_films(nets, paths, 'F', forced)
