"""The regions that a locate stage leaves."""

from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.imaging import boxes
from boneage_jax.runs import predictions


def read_located(
  workdir: str, stage: str | None
) -> tuple[dict[str, dict[str, boxes.Region]], dict[str, Any], dict[str, Any]]:
  """Read what a locate stage left; empty where there is none.

  Returns:
    regions of `boxes.read_regions`, coverage.json, and heat maps as
    {'maps': {film id: [R, h, w]}, 'resize': how films became net inputs}.
  """
  if not stage:
    return {}, {}, {}
  path = stages.path(workdir, stage, stages.REGIONS)
  regions = boxes.read_regions(path) if storage.exists(path) else {}
  path = stages.path(workdir, stage, stages.MAPS)
  heat: dict[str, Any] = {
    'maps': predictions.read_npz(path, 'maps'),
    'resize': 'squash',
  }
  if heat['maps']:
    with storage.naming(path), np.load(storage.reading(path, 'rb')) as file:
      if 'geometry' in file:
        heat['resize'] = str(file['geometry'])
  coverage = storage.read_json(stages.path(workdir, stage, stages.COVERAGE), {})
  return regions, coverage, heat
