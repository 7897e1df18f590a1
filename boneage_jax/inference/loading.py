"""The nets of a run, ready for new films."""

from collections.abc import MutableMapping
from collections.abc import Sequence
from typing import Any

import jax

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.inference import basis as basis_lib
from boneage_jax.inference import ensemble
from boneage_jax.inference import finders
from boneage_jax.inference import predictor
from boneage_jax.inference import quality_checks
from boneage_jax.inference import site as site_lib
from boneage_jax.runs import run as run_lib

Either = predictor.Predictor | ensemble.Ensemble


def load(
  workdir: str,
  stage: str = '',
  batch_size: int = 1,
  site: str = '',
  dtype: str = '',
) -> Either:
  """Load the nets of a stage, by default of the one that the run reports.

  Of a cross-validated run these are the nets of all folds, averaged. Once the
  stage is calibrated, predictions have intervals. Of `boys+girls`, two stages
  of one sex each, a film is read by the net of its sex.

  Args:
    workdir: of the run, or the folder of `model_file.open_model`.
    stage: that predicts.
    batch_size: most films that it reads at a time.
    site: whose correction ages get, see `site`; '' for none.
    dtype: of the nets' computation, see `models.DTYPES`; '' as they were
      trained.

  Raises:
    ValueError: no such stage, or it is not finished; no such site or dtype.
  """
  config = _config(workdir, dtype)
  stage = stages.chosen(config, stage)
  correction = site_lib.load(workdir, stage, site) if site else None
  model = _load(config, stage, workdir, batch_size, {}, dtype)
  model.basis = basis_lib.of_run(config, stage, workdir)
  model.site = correction
  model.checks = quality_checks.load(stages.path(workdir, stage))
  return model


def slow(workdir: str, stage: str = '', dtype: str = '') -> str:
  """Say that the nets of `load` may be slow on this device, else return ''."""
  config = _config(workdir, dtype)
  names = stages.parts(stages.chosen(config, stage))
  own = [stages.Stage(config, name, workdir) for name in names]
  read = [one for s in own for one in (s, *s.all_inputs())]
  types = [one.section.get('net', {}).get('dtype') for one in read]
  if 'bfloat16' not in types or jax.default_backend() != 'cpu':
    return ''
  return (
    'The nets compute in bfloat16. On a CPU without products of bfloat16 '
    '(AVX512_BF16, AMX), and with some nets on any, float32 is faster: give '
    '--dtype=float32. Ages differ by 0.1 to 0.3 months in the mean.'
  )


def _config(workdir: str, dtype: str) -> Any:
  config = run_lib.read_config(workdir)
  if dtype:
    for section in stages.sections(config).values():
      if 'dtype' in section.get('net', {}):
        section.net.dtype = dtype
  return config


def _load(
  config: Any,
  stage: str,
  workdir: str,
  batch_size: int,
  loaded: MutableMapping[tuple[str, str], finders.Finder],
  dtype: str,
) -> Either:
  parts = stages.parts(stage)
  if len(parts) > 1:
    members = [
      _load(config, name, workdir, batch_size, loaded, dtype) for name in parts
    ]
    known = [sex for member in members for sex in member.sexes]
    if len(set(known)) < len(known):
      raise ValueError(
        f'Expected {stage!r} to be stages of one sex each, got two that read '
        f'films of one sex: choose one of them with --stage.'
      )
    return ensemble.Ensemble(members)
  path = stages.path(workdir, stage, stages.CALIBRATION)
  keys = ('score', 'levels', 'groups')
  calibration = storage.read_json(path, {}, keys)
  section = stages.sections(config).get(stage, {})
  if section.get('job') == 'ensemble':
    rows = _members(section.members, workdir, stage)
    members = [
      _load(config, name, workdir, batch_size, loaded, dtype) for name in rows
    ]
    weights = [row['weight'] for row in rows.values()]
    by_sex = {
      sex: [row[sex] for row in rows.values()]
      for sex in ('F', 'M')
      if all(sex in row for row in rows.values())
    }
    return ensemble.Ensemble(members, weights, calibration, by_sex)
  if config.data.folds and config.data.fold < 0:
    folders = stages.fold_folders(config, workdir)
    members = [
      predictor.Predictor(
        *(_config(folder, dtype), stage, folder, batch_size),
        loaded=loaded,
      )
      for folder in folders
    ]
    return ensemble.Ensemble(members, calibration=calibration)
  return predictor.Predictor(
    config, stage, workdir, batch_size, calibration, loaded
  )


def _members(
  members: Sequence[str], workdir: str, stage: str
) -> dict[str, dict[str, float]]:
  """Return the weights that an `ensemble` stage has found.

  Returns:
    member -> its `weight`, and 'F' and 'M' where the sexes have their own; only
    members with a weight above 0 among these.
  """
  path = stages.path(workdir, stage, stages.ENSEMBLE)
  if not storage.exists(path):
    raise ValueError(
      f'Expected {path}, found none: run the stage {stage!r} first.'
    )
  result, found = storage.read_json(path, keys=('weights', 'members')), {}
  way = result['weights']
  for name, row in zip(members, result['members'], strict=True):
    by_sex = {sex: own[way] for sex, own in row.get('by_sex', {}).items()}
    found[name] = {'weight': row[way], **by_sex}
  return {name: own for name, own in found.items() if max(own.values()) > 0}
