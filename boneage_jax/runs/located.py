"""The regions that a locate stage leaves."""

import os
from typing import Any

import numpy as np

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
  folder = os.path.join(workdir, stage)
  path = os.path.join(folder, 'regions.csv')
  regions = boxes.read_regions(path) if storage.exists(path) else {}
  path = os.path.join(folder, 'maps.npz')
  heat: dict[str, Any] = {
    'maps': predictions.read_npz(path, 'maps'),
    'resize': 'squash',
  }
  if heat['maps']:
    with np.load(storage.reading(path, 'rb')) as file:
      if 'geometry' in file:
        heat['resize'] = str(file['geometry'])
  coverage = storage.read_json(os.path.join(folder, 'coverage.json'), {})
  return regions, coverage, heat
