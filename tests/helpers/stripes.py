"""Stripes, and what Pillow's triangle makes of them, by its definition."""

import numpy as np

AMPLITUDE = 120


def film(period, shape):
  """Upright stripes, uint8 [H, W]."""
  wave = np.cos(2 * np.pi * np.arange(shape[1]) / period + 0.3)
  row = np.rint(127.5 + AMPLITUDE * wave).astype(np.uint8)
  return np.ascontiguousarray(np.broadcast_to(row, shape))


def sampled(film, matrix, size_hw):
  """Upright stripes sampled by a triangle about each place, float [H, W].

  Pixel i of a row has the weight 1 - |i - x| / w about the place x, w the
  film's pixels to one of the output but at least 1; weights sum to 1.
  """
  back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
  y, x = np.mgrid[: size_hw[0], : size_hw[1]]
  places = back[0, 0] * x + back[0, 1] * y + back[0, 2]
  width = max(1 / np.hypot(*matrix[:, 0]), 1)
  row, first = film[0].astype(float), np.ceil(places - width).astype(int)
  total, weights = 0, 0
  for k in range(int(2 * width) + 2):
    near = np.maximum(1 - np.abs(first + k - places) / width, 0)
    total += near * row[np.clip(first + k, 0, len(row) - 1)]
    weights += near
  return total / weights


def amplitude(image):
  """The amplitude of stripes in the middle of an image."""
  height, width = (n // 5 for n in image.shape)
  return 2**0.5 * image[height:-height, width:-width].astype(float).std()
