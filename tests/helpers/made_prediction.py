"""A prediction of a film that nobody read."""

import numpy as np

from boneage_jax.imaging import boxes
from boneage_jax.inference import prediction


def made(**changes):
  """A girl's film of 100 months without regions, or with what is changed."""
  fields = dict(
    age_predicted=100.0,
    sex='F',
    probability=None,
    regions={},
    rotation_deg=0,
    film_box=boxes.WHOLE_FILM,
    quality_flags=(),
    overlay=np.zeros((4, 4, 3), np.uint8),
  )
  return prediction.Prediction(**fields | changes)
