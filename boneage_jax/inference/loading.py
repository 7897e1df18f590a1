"""The nets of a run, ready for new films."""

from collections.abc import Sequence
from typing import Any

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.inference import ensemble
from boneage_jax.inference import predictor
from boneage_jax.runs import run as run_lib

Either = predictor.Predictor | ensemble.Ensemble


def load(workdir: str, stage: str = '', batch_size: int = 1) -> Either:
  """Load the nets of a stage, by default of the one that the run reports.

  Of a cross-validated run these are the nets of all folds, averaged. Once the
  stage is calibrated, predictions have intervals.

  Raises:
    ValueError: no such stage, or it is not finished.
  """
  return _load(run_lib.read_config(workdir), stage, workdir, batch_size)


def _load(config: Any, stage: str, workdir: str, batch_size: int) -> Either:
  stage = stage or config.report.stage
  path = stages.path(workdir, stage, stages.CALIBRATION)
  calibration = storage.read_json(path, {})
  section = stages.sections(config).get(stage, {})
  if section.get('job') == 'ensemble':
    weights = _weights(section.members, workdir, stage)
    members = [_load(config, name, workdir, batch_size) for name in weights]
    return ensemble.Ensemble(members, list(weights.values()), calibration)
  if config.data.folds and config.data.fold < 0:
    folders = stages.fold_folders(config, workdir)
    members = [
      predictor.Predictor(
        run_lib.read_config(folder), stage, folder, batch_size
      )
      for folder in folders
    ]
    return ensemble.Ensemble(members, calibration=calibration)
  return predictor.Predictor(config, stage, workdir, batch_size, calibration)


def _weights(
  members: Sequence[str], workdir: str, stage: str
) -> dict[str, float]:
  """Return the weights, without zeros, that an `ensemble` stage has found."""
  path = stages.path(workdir, stage, stages.ENSEMBLE)
  if not storage.exists(path):
    raise ValueError(
      f'Expected {path}, found none: run the stage {stage!r} first.'
    )
  result = storage.read_json(path)
  rows = zip(members, result['members'], strict=True)
  weights = {name: row[result['weights']] for name, row in rows}
  return {name: weight for name, weight in weights.items() if weight > 0}
