"""Augmentation of films on the device: the warp of `examples`, in two halves.

The host sends every film whole, in a black square of a fixed side, with one
matrix and one table of greys; the device samples and tones it. That spares the
host the warp, and costs the transfer of larger pictures.
"""

from collections.abc import Mapping
import functools
import math

import cv2
import jax
import jax.numpy as jnp
from jax.scipy import ndimage
import numpy as np

from boneage_jax.imaging import geometry

BETWEEN = 4  # a square of fewer pixels to one of the input is smoothed between
MOST = 1.5  # a film is smoothed for this times as much shrinking, for zoom


def pack(
  film: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int], side: int
) -> dict[str, np.ndarray]:
  """Return a film in its square, and where the device finds each pixel of it.

  Args:
    film: uint8 [H, W]; larger than the square, it is shrunk to fit.
    matrix: film pixel -> input pixel, as given to geometry.warp.
    size_hw: height and width of the net's input.
    side: of the square.

  Returns:
    `squares` uint8 [side, side], with the film's edge repeated beyond it;
    `matrices` float32 [2, 3], input pixel -> pixel of the square; `tents`
    float32 [2], half-widths along x and y of the triangles to smooth by;
    `visible` uint8 [H, W], 0 where the film does not reach.
  """
  visible = geometry.covers(matrix, size_hw, film.shape)
  longest, smoothed = max(film.shape), 0
  if longest > side:
    small = tuple(max(round(n * side / longest), 1) for n in film.shape)
    shrink = geometry.fit_matrix(film.shape, small)
    matrix = geometry.compose(geometry.inverse(shrink), matrix)
    film, smoothed = geometry.warp(film, shrink, small), 1
  height, width = film.shape
  square = cv2.copyMakeBorder(
    film, 0, side - height, 0, side - width, cv2.BORDER_REPLICATE
  )
  # Variances add: what has smoothed a film need not be done again.
  tents = 1 / np.hypot(*matrix[:, :2]) ** 2 - smoothed
  return {
    'squares': square,
    'matrices': geometry.inverse(matrix).astype(np.float32),
    'tents': np.sqrt(np.maximum(tents, 1)).astype(np.float32),
    'visible': visible.astype(np.uint8),
  }


def mirror(packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Mirror packed films left and right."""
  width = packed['visible'].shape[-1]
  turn = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], np.float32)
  return {
    **packed,
    'matrices': packed['matrices'] @ turn,
    'visible': np.ascontiguousarray(packed['visible'][..., ::-1]),
  }


def finish(batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """Warp the films of a batch that came packed; others pass as they are.

  Args:
    batch: of films what `pack` gives, each [B, ...], and `greys` uint8
      [B, 256]; of regions all but the greys are [B, R, ...].

  Returns:
    The batch with `image` or `regions`, as `preprocess.make_example` describes.
  """
  if 'squares' not in batch:
    return dict(batch)
  batch = dict(batch)
  squares, tents = batch.pop('squares'), batch.pop('tents')
  matrices, visible = batch.pop('matrices'), batch.pop('visible')
  greys = batch.pop('greys')
  sample = functools.partial(_sample, size_hw=visible.shape[-2:])
  for _ in range(squares.ndim - 2):
    sample = jax.vmap(sample)
  films = sample(squares, matrices, tents) * visible
  name = 'image' if squares.ndim == 3 else 'regions'
  toned = jax.vmap(lambda table, film: table[film])(greys, films)
  return batch | {name: toned[..., None]}


def _sample(
  square: jax.Array,
  matrix: jax.Array,
  tents: jax.Array,
  size_hw: tuple[int, int],
) -> jax.Array:
  """Sample by a triangle about each place, as geometry.warp; uint8 [H, W]."""
  film = square.astype(jnp.float32)
  scales = []
  for axis, size in enumerate(size_hw):
    film, density = _smooth(film, axis, tents[1 - axis], len(square) / size)
    scales.append(density)
  y, x = jnp.mgrid[: size_hw[0], : size_hw[1]].astype(jnp.float32)
  from_x, from_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
  places = [from_y * scales[0], from_x * scales[1]]
  values = ndimage.map_coordinates(film, places, order=1, mode='nearest')
  return jnp.rint(values).astype(jnp.uint8)


def _smooth(
  film: jax.Array, axis: int, width: jax.Array, ratio: float
) -> tuple[jax.Array, int]:
  """Smooth along one axis, at each pixel and, where it must, between them.

  Args:
    film: [L, M].
    axis: 0 or 1.
    width: half of the triangle's, in pixels.
    ratio: pixels of the square to one of the net's input. A film that is
      smaller in it, or zoomed, shrinks by another factor.

  Returns:
    The film with `density` pixels for each along the axis, and `density`.
  """
  density = 1 if ratio >= BETWEEN else 2
  reach = math.ceil(MOST * max(ratio, 1)) + 1
  pad = [(0, 0), (0, 0)]
  pad[axis] = (reach, reach)
  padded = jnp.pad(film, pad, mode='edge')
  count = film.shape[axis]
  offsets = jnp.arange(-reach, reach + 1, dtype=jnp.float32)
  planes = []
  for phase in range(density):
    narrow = geometry.tent_width(width, density)
    weights = jnp.maximum(1 - jnp.abs(offsets - phase / density) / narrow, 0)
    weights /= weights.sum()
    planes.append(
      sum(
        weights[k] * jax.lax.slice_in_dim(padded, k, k + count, axis=axis)
        for k in range(2 * reach + 1)
      )
    )
  shape = list(film.shape)
  shape[axis] *= density
  return jnp.stack(planes, axis + 1).reshape(shape), density
