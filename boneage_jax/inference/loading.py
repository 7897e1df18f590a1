"""The nets of a run, ready for new films."""

from collections.abc import Sequence
import os

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.inference import ensemble
from boneage_jax.inference import predictor
from boneage_jax.runs import run as run_lib

Either = predictor.Predictor | ensemble.Ensemble


def load(workdir: str, stage: str = '', batch_size: int = 1) -> Either:
  """Load the nets of a stage, by default of the one that the run reports.

  Of a cross-validated run these are the nets of all folds, averaged.

  Raises:
    ValueError: no such stage, or it is not finished.
  """
  config = run_lib.read_config(workdir)
  stage = stage or config.report.stage
  if stage in config and config[stage].job == 'ensemble':
    weights = _weights(config[stage].members, os.path.join(workdir, stage))
    members = [load(workdir, member, batch_size) for member in weights]
    return ensemble.Ensemble(members, list(weights.values()))
  if config.data.folds and config.data.fold < 0:
    every = [stages.fold_folder(workdir, k) for k in range(config.data.folds)]
    return ensemble.Ensemble(
      [predictor.Predictor(fold, stage, batch_size) for fold in every]
    )
  return predictor.Predictor(workdir, stage, batch_size)


def _weights(members: Sequence[str], folder: str) -> dict[str, float]:
  """Return the weights, but zeros, that an `ensemble` stage has found."""
  path = os.path.join(folder, 'ensemble.json')
  if not storage.exists(path):
    raise ValueError(
      f'{path} is missing: run the stage {os.path.basename(folder)!r} first.'
    )
  result = storage.read_json(path)
  rows = zip(members, result['members'], strict=True)
  weights = {name: row[result['weights']] for name, row in rows}
  return {name: weight for name, weight in weights.items() if weight > 0}
