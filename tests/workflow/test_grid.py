"""Runs of a sweep: settings, folders, commands and the table at the end."""

import csv
import json
import pathlib
import shlex
import subprocess
import types

import fake_run
import numpy as np
import pytest
import tiny_cascade

from boneage_jax import sweep
from boneage_jax.report import sweep as sweep_report
from boneage_jax.workflow import grid
from configs import forest
from configs import guided

RATE = 'assessor.optimizer.learning_rate'
REPORT = {'alarms': ['Collapsed.']}


def test_values_are_split_at_commas_outside_of_brackets():
  assert grid.parse([f'{RATE}=1e-4,3e-4']) == {RATE: ['1e-4', '3e-4']}
  found = grid.parse(['config.a.size=64,(64,48),[1,2]', "a.b='x,y',z"])
  assert found == {'a.size': ['64', '(64,48)', '[1,2]'], 'a.b': ["'x,y'", 'z']}
  for wrong in (['a.b'], ['a.b='], ['=1'], ['a=1', 'a=2']):
    with pytest.raises(ValueError, match=r'^Expected '):
      grid.parse(wrong)


def test_names_are_as_short_as_they_can_be():
  assert grid.short_names(['a.b.c', 'd.c', 'e.f']) == {
    'a.b.c': 'b.c',
    'd.c': 'd.c',
    'e.f': 'f',
  }


def test_every_combination_gets_a_folder():
  fields = {'a.rate': ['1e-3', '2e-3'], 'b.size': ['(64, 48)']}
  runs = grid.cells(fields, 2, 5, '/out')
  assert [cell.folder for cell in runs] == [
    '/out/rate_1e-3__size_64-48__seed_5',
    '/out/rate_1e-3__size_64-48__seed_6',
    '/out/rate_2e-3__size_64-48__seed_5',
    '/out/rate_2e-3__size_64-48__seed_6',
  ]
  words = grid.command(runs[3], ['--config=f.py', '--config.a.c=1'], '/data')
  assert words[2:] == [
    '--config=f.py',
    '--config.a.c=1',
    '--config.a.rate=2e-3',
    '--config.b.size=(64, 48)',
    '--config.seed=6',
    '--config.data_dir=/data',
    f'--workdir={runs[3].folder}',
  ]
  signs = grid.cells({'a.rate': ['-0.5', '0.5']}, 1, 0, '/out')
  assert signs[0].folder == '/out/rate_-0.5__seed_0'
  with pytest.raises(ValueError, match='got one twice'):
    grid.cells({'a.rate': ['1', '1']}, 1, 0, '/out')
  with pytest.raises(ValueError, match='--seeds of 1 or more, got 0'):
    grid.cells(fields, 0, 0, '/out')


def test_fields_are_those_of_the_config():
  config = tiny_cascade.get_config()
  grid.check({RATE: ['1']}, config)
  for name in ('asessor.epochs', 'assessor.epoch', 'seed', 'seed.x'):
    with pytest.raises(ValueError, match=r'^Expected '):
      grid.check({name: ['1']}, config)


def test_prepared_films_are_shared_unless_they_differ():
  assert grid.shares_data([RATE, 'data.validation_fraction'])
  assert not grid.shares_data(['phantom.films'])
  assert not grid.shares_data(['data.age_unit', RATE])


def test_means_and_deviations_are_over_seeds():
  of = lambda validation, test, films=20: {
    'validation': sweep_report.Judged(validation, films),
    'test': sweep_report.Judged(test, 60),
  }
  runs = [
    ({RATE: 'a'}, 0, of(9.0, 5.0)),
    ({RATE: 'b'}, 0, of(7.0, 8.0)),
    ({RATE: 'a'}, 1, of(11.0, 7.0)),
    ({RATE: 'b'}, 1, of(8.0, 9.0, films=24)),
  ]
  rows = sweep_report.sweep_rows(runs)
  assert [row.values for row in rows] == [('b',), ('a',)]  # not by the test
  assert rows[1].mean('validation') == 10 and rows[1].mean('test') == 6
  assert rows[1].sd('validation') == pytest.approx(np.sqrt(2))
  lines = sweep_report.sweep_table(['rate'], rows).splitlines()
  head = ['rate', 'seeds', 'validation', 'MAE', 'sd', 'test', 'MAE', 'sd']
  assert lines[0].split() == head
  assert lines[1].split() == ['b', '2', '7.50', '0.71', '8.50', '0.71']
  said = 'Films that judge each run: 20 to 24 of validation, 60 of test.'
  assert lines[3:] == [said]
  assert sweep_report.sweep_rows(runs[:1])[0].sd('test') is None
  del runs[0][2]['test']
  text = sweep_report.sweep_table(['rate'], sweep_report.sweep_rows(runs[:1]))
  assert text.endswith('each run: 20 of validation, 0 of test.')


@pytest.fixture
def commands(monkeypatch):
  """Replace the commands by made-up runs; gives the list of those that ran.

  Runs with the rate 3 fail. Errors grow with the rate and depend on the seed;
  ten minutes pass with a rate of 1, twenty with one of 2.
  """
  table, ran, now = fake_run.films(60), [], [0.0]

  def run(words, check, stdout):
    assert not check
    stdout.write('the whole report')
    flags = dict(w.removeprefix('--').split('=') for w in words[4:])
    ran.append(flags)
    rate, seed = float(flags[f'config.{RATE}']), int(flags['config.seed'])
    now[0] += 600 * rate
    if rate == 3:
      return types.SimpleNamespace(returncode=1)
    folder = pathlib.Path(flags['workdir'])
    fake_run.write(folder, table, noise=4 * rate, seed=seed)
    own = json.loads((folder / 'config.json').read_text())
    own['stages'] = ['prepare', 'assessor', 'report']
    (folder / 'config.json').write_text(json.dumps(own))
    (folder / 'assessor' / 'done.json').write_text('{}')
    (folder / 'report').mkdir(exist_ok=True)
    (folder / 'report' / 'report.json').write_text(json.dumps(REPORT))
    return types.SimpleNamespace(returncode=0)

  monkeypatch.setattr(subprocess, 'run', run)
  clock = types.SimpleNamespace(monotonic=lambda: now[0])
  monkeypatch.setattr(sweep, 'time', clock)
  return ran


def csv_rows(folder):
  with open(folder / 'assessor/predictions.csv', newline='') as file:
    return list(csv.DictReader(file))


def go(config, tmp_path, rates, seeds=2, **options):
  sweep.sweep(
    config,
    ['--config=f.py'],
    fields={RATE: rates},
    seeds=seeds,
    out=str(tmp_path / 'out'),
    **options,
  )


def test_a_sweep_runs_goes_on_and_ends_in_a_table(
  commands, tmp_path, capsys, archive
):
  config = tiny_cascade.get_config()
  config.manual_dir = archive
  go(config, tmp_path, ['2', '1'])
  assert [c['config.seed'] for c in commands] == ['0', '1'] * 2
  assert {c['config.data_dir'] for c in commands} == {f'{tmp_path}/out/data'}
  text = capsys.readouterr().out
  said = text.splitlines()
  assert [x.split('; ')[1:] for x in said if ' of 4, ' in x] == [
    [],
    ['about 60 min left'],  # three like the first
    ['about 40 min left'],
    ['about 17 min left'],  # the mean of 20, 20 and 10
  ]
  assert said[3].startswith('2 of 4, learning_rate_2__seed_1;')
  rows = [line.split() for line in said[-4:-2]]
  assert [row[:2] for row in rows] == [['1', '2'], ['2', '2']]
  with open(tmp_path / 'out' / 'sweep.csv', newline='') as file:
    table = list(csv.DictReader(file))
  assert [row['learning_rate'] for row in table] == ['1', '1', '2', '2']
  mean = np.mean([float(row['validation_mae']) for row in table[:2]])
  assert f'{mean:.2f}' == rows[0][2]
  # Each run is one line, and one of its errors; its report lies in its folder.
  for row in table:
    line = (
      f'  validation MAE {float(row["validation_mae"]):.2f}, '
      f'test MAE {float(row["test_mae"]):.2f}'
    )
    assert said.count(line) == 1
    assert said[said.index(line) + 1] == '  ALARM: Collapsed.'
  held_out = csv_rows(tmp_path / 'out/learning_rate_1__seed_0')
  for split in ('validation', 'test'):
    count = sum(row['split'] == split for row in held_out)
    assert {row[f'{split}_films'] for row in table} == {str(count)}
    assert f' {count} of {split}' in said[-2]
  printed = tmp_path / 'out/learning_rate_1__seed_0/printed.txt'
  assert printed.read_text() == 'the whole report'
  assert 'the whole report' not in text
  assert (tmp_path / 'out' / 'sweep.png').read_bytes().startswith(b'\x89PNG')
  # The same command runs what is missing alone; one that fails is named.
  del commands[:]
  with pytest.raises(ValueError, match=r'1 of 3 runs did not end: learn.*_3__'):
    go(config, tmp_path, ['2', '1', '3'], seeds=1)
  assert [c[f'config.{RATE}'] for c in commands] == ['3']
  assert 'already done' in capsys.readouterr().out


@pytest.mark.parametrize('source', ['manual_dir', 'data.table'])
def test_phantoms_are_drawn_for_those_alone_who_train_on_them(source, tmp_path):
  config = tiny_cascade.get_config()
  config.phantom.update(films=2, long_side=64)
  config.update_from_flattened_dict({source: 'films'})
  runs = grid.cells({RATE: ['1e-4']}, 1, 0, str(tmp_path))
  grid.share_phantoms(config, str(tmp_path), runs)
  assert not list(tmp_path.iterdir())


def test_commands_are_printed_and_phantoms_shared(commands, tmp_path, capsys):
  config = tiny_cascade.get_config()
  config.phantom.update(films=2, long_side=64)
  go(config, tmp_path, ['1', '2'], seeds=1, print_only=True)
  lines = capsys.readouterr().out.splitlines()
  assert not commands and len(lines) == 2
  assert lines[0].startswith('python -m boneage_jax.main --config=f.py ')
  out = tmp_path / 'out'
  links = sorted(out.glob('learning_rate_*/phantoms'))
  assert len(links) == 2
  assert {link.resolve() for link in links} == {(out / 'phantoms').resolve()}
  assert (links[0] / 'phantom.json').exists()


def of_an_archive():
  config = tiny_cascade.get_config()
  config.manual_dir = 'films'  # no phantoms are drawn
  return config


def test_what_other_settings_left_is_not_taken_for_done(
  commands, tmp_path, capsys
):
  config = of_an_archive()
  go(config, tmp_path, ['1'], seeds=1)
  config.assessor.log_steps += 1  # and so it is after what changes no result
  config.data_dir = str(tmp_path / 'other')
  go(config, tmp_path, ['1'], seeds=1)
  assert len(commands) == 1
  config.assessor.epochs += 1  # `main` says whether such a run can go on
  go(config, tmp_path, ['1'], seeds=1)
  assert len(commands) == 2 and 'already done' in capsys.readouterr().out
  other = 'localizer.optimizer.learning_rate'  # the folder has the same name
  cell = grid.cells({RATE: ['1']}, 1, 0, str(tmp_path / 'out'))[0]
  assert grid.finished(cell, config)
  same = grid.cells({other: ['1']}, 1, 0, str(tmp_path / 'out'))[0]
  assert same.folder == cell.folder and not grid.finished(same, config)


def test_runs_of_printed_commands_are_done(commands, tmp_path, capsys):
  config = of_an_archive()
  go(config, tmp_path, ['1'], seeds=1, print_only=True)
  line = shlex.split(capsys.readouterr().out)
  with open(tmp_path / 'printed.txt', 'w') as file:
    subprocess.run(['python', *line], check=False, stdout=file)
  go(config, tmp_path, ['1'], seeds=1)
  assert len(commands) == 1 and 'already done' in capsys.readouterr().out


def test_folds_are_those_of_each_run(commands, tmp_path):
  config = of_an_archive()
  go(config, tmp_path, ['1'], seeds=1)
  cell = grid.cells({RATE: ['1']}, 1, 0, str(tmp_path / 'out'))[0]
  path = pathlib.Path(cell.folder) / 'config.json'
  own = json.loads(path.read_text())
  own['data'] |= {'folds': 2}
  path.write_text(json.dumps(own))
  (path.parent / 'assessor/done.json').unlink()
  for fold in range(2):
    assert not grid.finished(cell, config)
    folder = path.parent / f'fold_{fold}/assessor'
    folder.mkdir(parents=True)
    (folder / 'done.json').write_text('{}')
  assert grid.finished(cell, config)


def test_a_stage_that_tells_no_ages_is_refused_before_a_run(commands, tmp_path):
  for config, said in (
    (
      forest.get_config('phantom'),
      'has no report that shows a stage: it tells',
    ),
    (guided.get_config('fracture'), "tells ages, .*got 'classifier'"),
    (tiny_cascade.get_config(), 'tells ages.* assessor, localizer'),
  ):
    stage = 'regions' if 'regions' in config else ''
    with pytest.raises(ValueError, match=said):
      sweep.sweep(
        *(config, ['--config=f.py']),
        fields={'data.validation_fraction': ['0.1']},
        seeds=1,
        out=str(tmp_path / 'out'),
        stage=stage,
      )
  assert not commands


def test_overrides_of_a_line_keep_their_values(monkeypatch):
  flag = types.SimpleNamespace(config_filename='f.py')
  monkeypatch.setattr(sweep, 'FLAGS', {'config': flag})
  given = (
    '--config g.py --config.a.b=1 --noconfig.a.c --config.seed 4 --seeds 2 '
    '--config.a.d -0.5 -config.seed=5 --config.seed.x=1 --imports m --grid a=1'
  )
  kept = (
    '--config=f.py --config.a.b=1 --noconfig.a.c --config.a.d -0.5 '
    '--config.seed.x=1 --imports m'
  )
  assert ' '.join(sweep.overrides(given.split())) == kept
