"""Pictures that are no hands, which installed packages ship for their tests."""

import importlib.util
import os

import cv2
import numpy as np

from boneage_jax.core import storage
from boneage_jax.imaging import codec
from boneage_jax.imaging import corruptions

# Packages, and the folder of their pictures.
PACKAGES = (('skimage', 'data'), ('pydicom', 'data/test_files'))
ENDINGS = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp', '.dcm')
SMALL = 16  # pixels of the square by which pictures are compared
ALIKE = 0.98  # correlation from which two pictures are one source
LEAST = 32  # pixels of the shorter side


def sources() -> list[np.ndarray]:
  """Read the different pictures, uint8 [H, W]; what is no picture is left."""
  found, seen = [], []
  for path in _paths():
    try:
      with storage.reading(path, 'rb') as file:
        picture = codec.read(file.read()).image
    except (ValueError, OSError):  # many are there to be refused
      continue
    if min(picture.shape) < LEAST:
      continue
    small = cv2.resize(picture, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    row = small.ravel() - small.mean()
    row /= max(np.linalg.norm(row), 1e-9)
    if all(abs(row @ other) < ALIKE for other in seen):
      seen.append(row)
      found.append(picture)
  return found


def draw(
  pictures: list[np.ndarray], count: int, seed: int = 0
) -> list[np.ndarray]:
  """Crop, turn and mirror pictures, each as often as the others."""
  rng, out = np.random.default_rng(seed), []
  for k in range(count if pictures else 0):
    picture = pictures[k % len(pictures)]
    height, width = picture.shape
    share = rng.uniform(0.6, 1, 2)
    h, w = (
      max(round(s * n), 1) for s, n in zip(share, (height, width), strict=True)
    )
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    part = corruptions.rotate(
      picture[top : top + h, left : left + w], 90 * int(rng.integers(4))
    )
    out.append(corruptions.mirror(part) if rng.random() < 0.5 else part)
  return out


def _paths() -> list[str]:
  paths = []
  for package, folder in PACKAGES:
    spec = importlib.util.find_spec(package)
    for root in spec.submodule_search_locations if spec else ():
      place = os.path.join(root, folder)
      names = sorted(os.listdir(place)) if os.path.isdir(place) else []
      paths += [os.path.join(place, n) for n in names if n.endswith(ENDINGS)]
  return paths
