"""Three points of a hand, and of hands that differ a little."""

import numpy as np

FILM = (500, 400)
# Tip of the middle finger, capitate, tip of the thumb: the thumb at the right.
HAND = np.array([[180.0, 60.0], [210.0, 330.0], [300.0, 190.0]])


def hands(count=40, seed=0):
  """Points of hands that differ a little, the same film's."""
  rng = np.random.default_rng(seed)
  return HAND + rng.normal(0, 6, (count, 3, 2))
