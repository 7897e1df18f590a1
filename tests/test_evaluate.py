"""The commands on finished runs, as they are typed."""

import fake_run
import pytest

from boneage_jax import evaluate


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('evaluate') / 'run'
  fake_run.write(folder, fake_run.films(), stage='localizer', noise=12, seed=2)
  return fake_run.write(folder, fake_run.films(), sd=10)


@pytest.mark.parametrize(
  ('command', 'arguments', 'says'),
  [
    ('errors', ['{run}'], 'age-balanced'),
    ('compare', ['{run}', '{run}:localizer'], 'A better'),
    (
      'calibrate',
      ['{run}', '--out={out}', '--quality_films=0'],
      'Temperature',
    ),
    ('ensemble', ['{run}', '{run}:localizer', '--out={out}'], 'less best'),
  ],
)
def test_commands(run, tmp_path, capsys, command, arguments, says):
  given = [a.format(run=run, out=tmp_path) for a in arguments]
  evaluate.main([command, *given])
  printed = capsys.readouterr().out
  assert says in printed and 'sha256 cdcdcdcdcdcd' in printed


@pytest.mark.parametrize('command', evaluate.COMMANDS)
def test_help_of_a_command_has_an_example(capsys, command):
  with pytest.raises(SystemExit) as ended:
    evaluate.main([command, '--help'])
  assert ended.value.code == 0
  printed = capsys.readouterr().out
  called = f'python -m boneage_jax.evaluate {command}'
  assert printed.startswith(f'usage: {called} ')
  assert f'  {called} runs/' in printed


def test_help_of_all_commands(capsys):
  evaluate.main(['--help'])
  printed = capsys.readouterr().out
  for command in evaluate.COMMANDS:
    assert f'\n  {command} ' in printed


@pytest.mark.parametrize('argv', [[], ['comapre', 'a', 'b']])
def test_unknown_command(argv):
  with pytest.raises(
    SystemExit, match='Error: Expected a command of errors, compare, calib'
  ):
    evaluate.main(argv)


def test_errors_have_no_traceback(tmp_path):
  """They end the command with a line, as every SystemExit with a text."""
  with pytest.raises(SystemExit) as stop:
    evaluate.main(['errors', str(tmp_path)])
  text = str(stop.value.code)
  assert text.startswith('Error: Expected the folder of a run')
  assert '\n' not in text
