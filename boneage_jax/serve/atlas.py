"""Phantoms of any bone age, beside which a reader can lay a film.

They are drawn here, so that no atlas is copied: one hand, every centre as at
the median of the age.
"""

import functools
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.phantom import anatomy
from boneage_jax.phantom import render
from boneage_jax.phantom import schedule

HAND = (3, 7)  # index and seed of one that lies upright
SIDE, HEIGHT = 800, 640  # pixels of the film, and of the hand cut out of it
MARGIN = 0.03  # of the film, about the hand
NEAR = 9  # months before and after, in which changes are named
SEXES = {'M': True, 'F': False}
KEPT = 96  # phantoms, of about 150 kB


class Phantom(NamedTuple):
  """A phantom and what changes about its age.

  Attributes:
    png: the hand.
    changes: see `schema.Change`.
  """

  png: bytes
  changes: list[dict[str, Any]]


@functools.lru_cache(KEPT)
def phantom(sex: str, months: int) -> Phantom:
  """Draw a hand.

  Args:
    sex: 'M' or 'F'.
    months: bone age, from 1 to `anatomy.OLDEST`.
  """
  male = SEXES[sex]
  options = {'long_side': SIDE, 'age': months, 'male': male, 'median': True}
  film = render.make_film(*HAND, options)
  image, box = film['image'], film['hand_box']
  size = np.array(image.shape[::-1])
  low = np.maximum(np.floor((box[:2] - MARGIN) * size), 0).astype(int)
  high = np.minimum(np.ceil((box[2:] + MARGIN) * size), size).astype(int)
  hand = image[low[1] : high[1], low[0] : high[0]]
  width = round(hand.shape[1] * HEIGHT / hand.shape[0])
  hand = cv2.resize(hand, (width, HEIGHT), interpolation=cv2.INTER_CUBIC)
  changes = []
  for one in schedule.changes(months - NEAR, months + NEAR, male):
    x, y = (film['centres'][one.centre] * size - low) / (high - low)
    changes.append(
      {
        'month': one.month,
        'centre': schedule.name(one.centre),
        'what': one.what,
        'x': round(float(x), 4),
        'y': round(float(y), 4),
      }
    )
  return Phantom(cv2.imencode('.png', hand)[1].tobytes(), changes)


def ages() -> range:
  """Return the bone ages that are drawn, months."""
  return range(1, anatomy.OLDEST + 1)
