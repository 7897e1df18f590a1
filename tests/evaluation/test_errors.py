"""Tables of a run against figures reckoned from its predictions.csv alone."""

import csv
import json
import math
import statistics

import fake_run
import numpy as np
import pytest

from boneage_jax.evaluation import errors as errors_lib
from boneage_jax.evaluation import text_table
from boneage_jax.runs import run as run_lib


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tables') / 'run'
  return fake_run.write(folder, fake_run.films(), noise=9)


def _errors(run, split, keep=lambda row: True):
  """Reads the stored file with the standard library alone."""
  with open(run / 'assessor/predictions.csv', newline='') as file:
    return [
      float(row['age_predicted']) - float(row['age_true'])
      for row in csv.DictReader(file)
      if row['split'] == split and keep(row)
    ]


def _figures(errors):
  size = [abs(e) for e in errors]
  return {
    'n': len(errors),
    'mae': statistics.fmean(size),
    'rmse': math.sqrt(statistics.fmean([e * e for e in errors])),
    'median': statistics.median(size),
    'bias': statistics.fmean(errors),
    **{
      f'within_{months}': sum(e <= months for e in size) / len(size)
      for months in (6, 12, 24)
    },
  }


def test_figures_are_those_of_the_stored_predictions(run, tmp_path, capsys):
  path = tmp_path / 'figures.json'
  errors_lib.main([str(run), f'--out={path}'])
  printed = capsys.readouterr().out
  stored = json.loads(path.read_text())
  assert list(stored['splits']) == ['test', 'validation']  # never mixed
  cells = {
    'all': lambda row: True,
    '  boys': lambda row: row['sex'] == 'M',
    '  48-72': lambda row: 48 <= float(row['age_true']) < 72,
    '  late puberty': lambda row: (
      168 <= float(row['age_true']) < 192
      if row['sex'] == 'M'
      else 156 <= float(row['age_true']) < 180
    ),
    '  girls, 72-96': lambda row: (
      row['sex'] == 'F' and 72 <= float(row['age_true']) < 96
    ),
  }
  where = {
    'all': (),
    '  boys': ('by_sex', 'M'),
    '  48-72': ('by_age', '48-72'),
    '  late puberty': ('by_stage', 'late puberty'),
    '  girls, 72-96': ('by_sex_age', 'F, 72-96'),
  }
  blocks = printed.split('\nvalidation ')
  for split, block in zip(('test', 'validation'), blocks, strict=True):
    for title, keep in cells.items():
      expected = _figures(_errors(run, split, keep))
      row = stored['splits'][split]
      for key in where[title]:
        row = row[key]
      for name, value in expected.items():
        assert row[name] == pytest.approx(value), (split, title, name)
      line = next(x for x in block.splitlines() if x.startswith(title + '  '))
      words = line[len(title) :].split()
      assert words[0] == str(expected['n'])
      assert words[1] == f'{expected["mae"]:.2f}'
      low, high = float(words[2]), float(words[4])
      assert low < expected['mae'] < high
      names = ('rmse', 'median', 'bias')
      assert [float(w) for w in words[5:8]] == [
        pytest.approx(expected[name], abs=0.006) for name in names
      ]
      assert words[8] == f'{100 * expected["within_6"]:.1f}'


def test_age_balanced_of_the_stored_predictions(run):
  figures = errors_lib.run_summary(run_lib.read_run(str(run)))
  for split in ('test', 'validation'):
    row = figures['splits'][split]['age_balanced']
    bands = [(int(a), int(b)) for a, b in (x.split('-') for x in row['bands'])]
    maes = [
      _figures(
        _errors(run, split, lambda r, a=a, b=b: a <= float(r['age_true']) < b)
      )['mae']
      for a, b in bands
    ]
    assert row['mae'] == pytest.approx(statistics.fmean(maes))


def test_a_table_names_its_data_and_bands(run):
  text = errors_lib.errors_table(
    errors_lib.run_summary(run_lib.read_run(str(run))), ()
  )
  assert text.startswith('run:assessor: made up, subset: 600 of 9999 films')
  assert 'labels (test) sha256 cdcdcdcdcdcd' in text
  assert 'MAE of the bands 0-24, 24-48,' in text
  assert 'girls' not in text


@pytest.mark.parametrize(('films', 'there'), [(5, True), (2, False)])
def test_a_table_of_few_films_says_why_it_has_no_age_balanced_mae(films, there):
  age = np.repeat([6.0, 30.0, 54.0, 78.0], [5, films, films, 2])
  text = errors_lib.films_table(
    *(age, age + 10, np.ones(len(age)), np.full(len(age), ''))
  )
  rows = [x.split() for x in text.splitlines() if x.startswith('age-balanced ')]
  assert rows == [['age-balanced', '10.00']] * there
  note = {
    True: 'bands 0-24, 24-48, 48-72; fewer than 5 films in 72-96 (2).',
    False: 'No age-balanced MAE: fewer than 5 films in 24-48 (2), 48-72 (2), '
    '72-96 (2), which are most bands that have films.',
  }
  assert text.endswith(note[there])


def test_cells_with_few_films_have_no_figures(run):
  figures = errors_lib.run_summary(run_lib.read_run(str(run)))
  cells = figures['splits']['test']['by_sex_age_stage']
  few = {name: row['n'] for name, row in cells.items() if row['n'] < 10}
  assert few
  lines = errors_lib.errors_table(figures, ['sex_age_stage']).splitlines()
  for name, n in few.items():
    sex, *others = name.split(', ')
    shown = ', '.join([{'F': 'girls', 'M': 'boys'}[sex], *others])
    line = next(x for x in lines if x.startswith(f'  {shown} '))
    assert line.split()[-1] == str(n)


def test_runs_side_by_side(run, tmp_path, capsys):
  table = fake_run.films()
  quick = fake_run.write(tmp_path / 'quick', table, noise=4, seed=2)
  rows = [  # the first row compiles and counts in the minutes alone
    dict(step=10, films=80, seconds=40.0, validation_seconds=2.0),
    dict(step=20, films=80, seconds=8.0, validation_seconds=2.0),
    dict(step=30, films=80, seconds=5.0, validation_seconds=0.0),
    dict(step=40, films=80, seconds=4.0, validation_seconds=5.0),
  ]
  (quick / 'assessor/speed.jsonl').write_text(
    ''.join(json.dumps(row) + '\n' for row in rows)
  )
  short = fake_run.write(tmp_path / 'short', table, noise=4, seed=3)
  (short / 'assessor/speed.jsonl').write_text(json.dumps(rows[0]) + '\n')
  assert (
    errors_lib.run_summary(run_lib.read_run(str(short)))['films_per_second']
    is None
  )
  assert '0.7' in errors_lib.runs_table(
    [errors_lib.run_summary(run_lib.read_run(str(short)))]
  )
  path = tmp_path / 'both.json'
  errors_lib.main([str(run), str(quick), f'--out={path}'])
  printed = capsys.readouterr().out
  assert 'WARNING' not in printed
  blocks = printed.split('\nvalidation ')
  for split, block in zip(('test', 'validation'), blocks, strict=True):
    for folder in (run, quick):
      title = f'{folder.name}:assessor '
      words = next(x for x in block.splitlines() if x.startswith(title)).split()
      expected = _figures(_errors(folder, split))
      sexes = [
        _figures(_errors(folder, split, lambda r, m=m: r['sex'] == m))
        for m in ('F', 'M')
      ]
      assert words[1:3] == [str(expected['n']), f'{expected["mae"]:.2f}']
      assert [float(w) for w in words[6:9]] == [
        pytest.approx(value, abs=0.006)
        for value in (*(row['mae'] for row in sexes), expected['rmse'])
      ]
      assert words[11:] == (['16.0', '1.1'] if folder == quick else [])
  assert [r['run'] for r in json.loads(path.read_text())] == [
    'run:assessor',
    'quick:assessor',
  ]

  other = fake_run.write(tmp_path / 'other', fake_run.films(500))
  errors_lib.main([str(run), str(other)])
  assert 'WARNING: rows are of different data' in capsys.readouterr().out


def test_layout():
  text = text_table.layout(('a', 'bb'), [['long', '1'], ['x'], ['y', '222']])
  assert text == 'a      bb\nlong    1\nx\ny     222'


def test_a_missing_run(tmp_path, capsys):
  with pytest.raises(SystemExit, match='Error: Expected the folder of a run'):
    errors_lib.main([str(tmp_path / 'nothing')])
