"""A model file: all that `predict` needs of a run, in one folder or zip.

It has the layout of a run, with the arrays of nets as safetensors in the place
of checkpoints. Numbers, text and settings are all that it holds: nothing in it
can execute.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Mapping
import hashlib
import os
import pathlib
import shutil
import tempfile
from typing import Any
import zipfile

import ml_collections

from boneage_jax import models
from boneage_jax.core import config as config_lib
from boneage_jax.core import extend
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.inference import contents
from boneage_jax.inference import site as site_lib
from boneage_jax.runs import parameters

FORMAT = 1
MANIFEST = 'manifest.json'
CARD, CARD_JSON = 'MODEL_CARD.md', 'model_card.json'
SUFFIXES = ('.json', '.md', '.npz', '.safetensors')  # no pickles in .npz
# What `predict` reads of stages, besides nets and forests.
OF_STAGES = (
  stages.CALIBRATION,
  stages.ENSEMBLE,
  stages.REGISTRATION_JSON,
  stages.LIMITS,
)
OF_MEMBERS = ('mean', 'mae', 'mse', 'by_sex')  # of ensemble.json
DATE = (1980, 1, 1, 0, 0, 0)  # one model, one hash


def write(
  model: contents.Model,
  config: ml_collections.ConfigDict,
  stage: str,
  workdir: str,
  out: str,
  card: tuple[Mapping[str, Any], str],
  report: Mapping[str, Any],
) -> dict[str, Any]:
  """Write a model file.

  Args:
    model: loaded from `stage`.
    config: of the run.
    stage: that predicts.
    workdir: of the run.
    out: a folder that is not there yet, or a name that ends in .zip.
    card: the model card, as JSON and as Markdown.
    report: what is kept of report.json: `data` at least.

  Returns:
    The content of manifest.json.

  Raises:
    ValueError: `out` is there already.
  """
  out = os.path.abspath(os.path.expanduser(out))
  if os.path.exists(out):
    raise ValueError(
      f'Expected a new folder or zip file for --out, but {out} is there: '
      'remove it, or choose another name.'
    )
  os.makedirs(os.path.dirname(out), exist_ok=True)
  folder = f'{out}.{os.getpid()}.folder'
  try:
    _fill(folder, model, config, stage, workdir, card, report)
    manifest = _manifest(folder, model, stage, workdir)
    storage.write_json(os.path.join(folder, MANIFEST), manifest, indent=1)
    if out.endswith('.zip'):
      with storage.staged(out) as place:
        _pack(folder, place)
    else:
      os.rename(folder, out)
  finally:
    shutil.rmtree(folder, ignore_errors=True)
  return manifest


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Add the flags that say which nets are meant; see `folder_of`."""
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument('--workdir', default='', help='folder of a run')
  source.add_argument('--model', default='', help='model file: folder or zip')
  parser.add_argument('--stage', default='', help='by default the reported one')
  parser.add_argument('--site', default='', help='of evaluate adapt')
  parser.add_argument(
    '--dtype',
    choices=models.DTYPES,
    default='',
    help='of what nets compute; by default that of their training',
  )
  extend.add_flag(parser)


def folder_of(workdir: str, model: str) -> str:
  """Return the folder of a run, or that of `open_model` if there is a model."""
  return open_model(model) if model else storage.absolute(workdir)


def open_run(path: str) -> str:
  """Return the folder of a run, or that of `open_model`.

  Raises:
    ValueError: a file that is no model file, or one that is damaged.
  """
  if os.path.isfile(path) or storage.exists(os.path.join(path, MANIFEST)):
    return open_model(path)
  return storage.absolute(path)


def open_model(path: str) -> str:
  """Check a model file and return its folder, of a zip a temporary copy.

  Raises:
    ValueError: not a model file, or one that is damaged.
  """
  path = os.path.abspath(os.path.expanduser(path))
  if os.path.isdir(path):
    return _checked(path, path)
  if not zipfile.is_zipfile(path):
    raise ValueError(
      f'Expected the folder or zip of a model for --model, got {path}: write '
      'one with python -m boneage_jax.export --workdir=RUN --out=MODEL.'
    )
  folder = tempfile.TemporaryDirectory(prefix='boneage_model_')
  _TEMPORARY.append(folder)  # is there until the program ends
  with zipfile.ZipFile(path) as file:
    for name in file.namelist():
      _check_name(name, path)
    file.extractall(folder.name)
  return _checked(folder.name, path)


_TEMPORARY: list[tempfile.TemporaryDirectory] = []


def _fill(
  folder: str,
  model: contents.Model,
  config: ml_collections.ConfigDict,
  stage: str,
  workdir: str,
  card: tuple[Mapping[str, Any], str],
  report: Mapping[str, Any],
) -> None:
  def write_json(name: str, content: Any) -> None:
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    storage.write_json(path, content, indent=1)

  for program in contents.programs(model):
    name = contents.name(program.loaded, workdir)
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    path = os.path.join(folder, name, parameters.FILE)
    parameters.write(path, program.loaded.variables)
  for place in ('', *_folds(config)):
    own = config
    if place:
      run = os.path.join(workdir, place)
      own = config_lib.read_config(stages.config_path(run))
    write_json(os.path.join(place, stages.CONFIG), bare(own, stage))
    for name in _read_stages(own, stage, workdir):
      for file in OF_STAGES:
        path = stages.path(os.path.join(workdir, place), name, file)
        if storage.exists(path):
          content = storage.read_json(path)
          if file == stages.ENSEMBLE:
            content = _weights(content)
          write_json(os.path.join(place, name, file), content)
      for arrays in (stages.FOREST, stages.QUALITY):
        path = stages.path(os.path.join(workdir, place), name, arrays)
        if not storage.exists(path):
          continue
        os.makedirs(os.path.join(folder, place, name), exist_ok=True)
        copy = os.path.join(folder, place, name, arrays)
        with storage.reading(path, 'rb') as source, open(copy, 'wb') as file:
          shutil.copyfileobj(source, file)
  sites = storage.glob(stages.path(workdir, stage, site_lib.FOLDER), '*.json')
  for path in sites:
    name = os.path.join(stage, site_lib.FOLDER, os.path.basename(path))
    write_json(name, storage.read_json(path))
  report_path = os.path.relpath(
    stages.report_path(folder, stages.REPORT_JSON), folder
  )
  write_json(report_path, report)
  about, text = card
  write_json(CARD_JSON, about)
  with storage.replacing(os.path.join(folder, CARD)) as file:
    file.write(text)


def _read_stages(config: Any, stage: str, workdir: str) -> list[str]:
  """Name a stage, or both of a pair, and all that these read."""
  own = [stages.Stage(config, name, workdir) for name in stages.parts(stage)]
  every = [one.name for part in own for one in (part, *part.all_inputs())]
  return list(dict.fromkeys(every))


def _folds(config: Any) -> list[str]:
  return [os.path.relpath(f, '.') for f in stages.fold_folders(config, '.')]


def bare(config: ml_collections.ConfigDict, stage: str) -> dict[str, Any]:
  """Return the content of config.json without places on this machine."""
  content = config_lib.to_json(config)
  content['report'] = {**content.get('report', {}), 'stage': stage}
  return _without_places(content)


def _without_places(value: Any) -> Any:
  if isinstance(value, dict):
    return {name: _without_places(one) for name, one in value.items()}
  if isinstance(value, list):
    return [_without_places(one) for one in value]
  place = isinstance(value, str) and (os.path.isabs(value) or '://' in value)
  return '' if place else value


def _weights(content: Mapping[str, Any]) -> dict[str, Any]:
  """Return what is read of ensemble.json: weights, no folders.

  That of a cross-validated run has no weights: its folds count alike.
  """
  members = [
    {name: row[name] for name in OF_MEMBERS if name in row}
    for row in content['members']
  ]
  weights = {name: content[name] for name in ('weights',) if name in content}
  return weights | {'members': members}


def _manifest(
  folder: str, model: contents.Model, stage: str, workdir: str
) -> dict[str, Any]:
  nets = {
    contents.name(one.loaded, workdir): parameters.names(one.loaded.variables)
    for one in contents.programs(model)
  }
  files = {name: _described(path) for name, path in _files(folder)}
  return {'format': FORMAT, 'stage': stage, 'nets': nets, 'files': files}


def _files(folder: str) -> Iterator[tuple[str, str]]:
  """Yield name and path of each file below a folder, in order."""
  for path in sorted(pathlib.Path(folder).rglob('*')):
    if not path.is_dir():
      yield path.relative_to(folder).as_posix(), str(path)


def _described(path: str) -> dict[str, Any]:
  with open(path, 'rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  return {'bytes': os.path.getsize(path), 'sha256': digest}


def _pack(folder: str, path: str) -> None:
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as file:
    for name, place in _files(folder):
      with open(place, 'rb') as source:
        file.writestr(zipfile.ZipInfo(name, DATE), source.read())


def _check_name(name: str, path: str) -> None:
  parts = pathlib.PurePosixPath(name).parts
  bad = name.startswith('/') or '\\' in name or ':' in name or '..' in parts
  if bad or not name.endswith(SUFFIXES):
    raise ValueError(
      f'{path}: expected files of a model alone ({", ".join(SUFFIXES)}), got '
      f'{name!r}: do not use it; export the model again.'
    )


def _checked(folder: str, path: str) -> str:
  """Return a folder whose files are those of its manifest.

  Raises:
    ValueError: they are not.
  """
  manifest = storage.read_json(os.path.join(folder, MANIFEST), {})
  if manifest.get('format') != FORMAT:
    raise ValueError(
      f'Expected {MANIFEST} with "format": {FORMAT} in {path}, got '
      f'{manifest.get("format", "none")}: no model file, or one of another '
      'version; write one with python -m boneage_jax.export.'
    )
  there = dict(_files(folder))
  for name in there:
    _check_name(name, path)
  del there[MANIFEST]
  for name in sorted({*there, *manifest['files']}):
    known = manifest['files'].get(name)
    if name not in there or known != _described(there[name]):
      what = 'no such file' if name not in there else 'another one'
      what = 'one that it does not list' if known is None else what
      raise ValueError(
        f'{path}: expected {name} as its {MANIFEST} describes it, found '
        f'{what}: the model is damaged or was changed; copy or export it again.'
      )
  return folder
