"""Commands of results/ exist: their modules, files and fields of configs."""

import importlib
import importlib.util
import pathlib
import re
import runpy
import shlex
import sys

import fake_run
import numpy as np
import pytest

from boneage_jax.core import extend
from results import rows as rows_lib

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / 'results'


def commands(path):
  text = path.read_text(encoding='utf-8').replace('\\\n', ' ')
  lines = [line.strip() for line in text.splitlines()]
  return [shlex.split(line) for line in lines if line.startswith('python ')]


def build_config(path):
  name, _, variant = path.partition(':')
  module = name.removesuffix('.py').replace('/', '.')
  return importlib.import_module(module).get_config(variant)


SCRIPTS = sorted((RESULTS / 'commands').glob('*.sh'))


def test_every_command_is_of_a_row():
  names = [path.relative_to(RESULTS) for path in RESULTS.rglob('*.csv')]
  rows = [row for name in names for row in rows_lib.read(name.as_posix())]
  used = {row['command'] for row in rows if 'command' in row}
  files = {path.name for path in (RESULTS / 'commands').glob('*.*')}
  assert files == used


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.stem)
def test_commands_exist(path):
  assert commands(path)
  for _, how, *module_and_arguments in commands(path):
    if how != '-m':
      assert (ROOT / how).is_file()
      continue
    module, *arguments = module_and_arguments
    assert importlib.util.find_spec(module) is not None
    if module == 'boneage_jax.evaluate':
      verb = arguments[0].replace('-', '_')
      assert importlib.util.find_spec(f'boneage_jax.evaluation.{verb}')
    flags = dict(a[2:].partition('=')[::2] for a in arguments if a[:2] == '--')
    if not flags.get('config', '').startswith('configs/'):
      continue
    config = build_config(flags['config'])
    if 'config.imports' not in flags:  # names choose parameters, as in commands
      importlib.import_module('boneage_jax.main')  # and its tables of names
      ends = [name for name in flags if re.fullmatch(r'config\..+\.name', name)]
      extend.choose(config, {name[7:-5]: flags[name] for name in ends})
    for name in [name for name in flags if name.startswith('config.')]:
      field = config
      section = name.rpartition('.')[0]
      if 'config.imports' in flags and f'{section}.name' in flags:
        continue  # a parameter of what a module brings
      for part in name.split('.')[1:]:
        assert part in field, f'{name} is not a field of {flags["config"]}'
        field = field[part]


def test_scripts_run(tmp_path, monkeypatch, capsys, prepared):
  """The commands that are Python, on made-up runs and small films."""

  def script(name, *arguments):
    monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
    runpy.run_path(str(RESULTS / 'commands' / name))
    return capsys.readouterr().out

  films = fake_run.films(200)
  for seed, stage in enumerate(('inception', 'localizer', 'assessor')):
    fake_run.write(tmp_path, films, seed=seed, stage=stage)
  out = script('half_cross_fitted.py', tmp_path)
  assert float(re.search(r"'difference': (-?[\d.]+)", out)[1]) < 0
  out = script('calibration_divisions.py', f'{tmp_path}:assessor')
  covered = [float(x) for x in re.findall(r'[\d.]+', out)[:3]]
  np.testing.assert_allclose(covered, 0.9, atol=0.06)
  out = script('quality.py', prepared, 64)
  assert len(out.splitlines()) == 4 + 2 + 2 + 7
  assert 'blur 0.02: flagged 1.0' in out
