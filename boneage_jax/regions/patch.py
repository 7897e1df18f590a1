"""Squares about landmarks that a forest finds on a film."""

from typing import Any

import numpy as np

from boneage_jax.imaging import boxes
from boneage_jax.imaging import geometry
from boneage_jax.imaging import points as points_lib
from boneage_jax.regions import localize
from boneage_jax.training import landmarks as landmarks_lib

# Shares of the film within which a patch's side is held: a forest that is lost
# may find no hand, or one as large as the film.
SIDES = (0.02, 1.0)


def find(
  film: localize.Film,
  finder: landmarks_lib.Finder,
  forest: Any,
  section: Any,
) -> None:
  """Fill `regions` of a film: a square about each landmark of `regions`.

  Args:
    film: fresh from `localize.load_film`.
    finder: of its landmarks.
    forest: section of the stage that fitted it.
    section: regions, names of landmarks; patch, the side as a share of the
      hand's length.
  """
  seen, matrix = landmarks_lib.view(film.image, forest.input)
  found = finder(seen)['points'][-1]
  points = points_lib.move(found.astype(np.float64), geometry.inverse(matrix))
  length = landmarks_lib.hand_length(points, forest.landmarks)
  size = np.array(film.image.shape[::-1])
  half = np.clip(section.patch * length / size, *SIDES) / 2
  names = landmarks_lib.LANDMARKS[forest.landmarks]
  for name in section.regions:
    middle = (points[names.index(name)] + 0.5) / size
    middle = np.clip(middle, half, 1 - half)  # all of it lies on the film
    box = (*(middle - half).tolist(), *(middle + half).tolist())
    film.regions[name] = boxes.Region(box, 1.0, True)
