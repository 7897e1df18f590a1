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


def pack(
  film: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int], side: int
) -> tuple[np.ndarray, np.ndarray]:
  """Return a film in its square, and where the device finds each pixel of it.

  Args:
    film: uint8 [H, W]; larger than the square, it is shrunk to fit.
    matrix: film pixel -> input pixel, as given to geometry.warp.
    size_hw: height and width of the net's input.
    side: of the square.

  Returns:
    uint8 [side, side], and float32 [2, 3], input pixel -> pixel of the square
    once `finish` has averaged blocks of it.
  """
  longest = max(film.shape)
  if longest > side:
    height, width = (max(round(n * side / longest), 1) for n in film.shape)
    back = geometry.fit_matrix((height, width), film.shape)
    matrix = geometry.compose(back, matrix)
    film = cv2.resize(film, (width, height), interpolation=cv2.INTER_AREA)
  square = np.zeros((side, side), np.uint8)
  square[: film.shape[0], : film.shape[1]] = film
  blocks = [block(n, side) for n in size_hw]
  shrunk = tuple(side // n for n in blocks)
  whole = np.vstack([matrix, [0, 0, 1]])
  back = np.linalg.inv(whole)[:2]
  # A rest of a block is left out.
  used = tuple(n * each for n, each in zip(shrunk, blocks, strict=True))
  back = geometry.compose(back, geometry.fit_matrix(used, shrunk))
  return square, back.astype(np.float32)


def mirror(packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Mirror packed films left and right."""
  width = packed['visible'].shape[-1]
  turn = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], np.float32)
  return {
    **packed,
    'matrices': packed['matrices'] @ turn,
    'visible': np.ascontiguousarray(packed['visible'][..., ::-1]),
  }


def block(size: int, side: int) -> int:
  """Return the height or width of the blocks averaged first, of that of `size`.

  About geometry.SAMPLED is left.
  """
  return max(math.ceil(geometry.SAMPLED * side / size - 0.5), 1)


def finish(batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """Warp the films of a batch that came packed; others pass as they are.

  Args:
    batch: of films `squares` uint8 [B, L, L], `matrices` float32 [B, 2, 3],
      `visible` uint8 [B, H, W], 0 where the film is cut out, and `greys` uint8
      [B, 256]; of regions the first three are [B, R, ...].

  Returns:
    The batch with `image` or `regions`, as `preprocess.make_example` describes.
  """
  if 'squares' not in batch:
    return dict(batch)
  batch = dict(batch)
  squares, matrices = batch.pop('squares'), batch.pop('matrices')
  greys, visible = batch.pop('greys'), batch.pop('visible')
  sample = functools.partial(_sample, size_hw=visible.shape[-2:])
  for _ in range(squares.ndim - 2):
    sample = jax.vmap(sample)
  films = sample(squares, matrices) * visible
  name = 'image' if squares.ndim == 3 else 'regions'
  toned = jax.vmap(lambda table, film: table[film])(greys, films)
  return batch | {name: toned[..., None]}


def _sample(
  square: jax.Array, matrix: jax.Array, size_hw: tuple[int, int]
) -> jax.Array:
  """Bilinear, with black outside; uint8 [H, W]."""
  tall, wide = (block(n, len(square)) for n in size_hw)
  rows, columns = len(square) // tall, len(square) // wide
  used = square[: rows * tall, : columns * wide].astype(jnp.float32)
  film = used.reshape(rows, tall, columns, wide).mean((1, 3))
  y, x = jnp.mgrid[: size_hw[0], : size_hw[1]].astype(jnp.float32)
  from_x, from_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
  values = ndimage.map_coordinates(film, [from_y, from_x], order=1)
  return jnp.rint(values).astype(jnp.uint8)
