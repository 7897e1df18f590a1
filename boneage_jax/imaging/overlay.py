"""Pictures of a film with its heat map and its regions drawn in."""

from collections.abc import Mapping
from collections.abc import Sequence
import textwrap
import types
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.imaging import geometry
from boneage_jax.imaging import intensity

# Of regions in the order of regions.csv, RGB; safe for colour-blind readers.
COLOURS = ((86, 204, 242), (255, 214, 64), (255, 122, 198))
OUTLINE, POINT, DARK = (255, 255, 255), (255, 90, 60), (10, 10, 10)
LETTER, LINE = 7, 14  # pixels of a caption


class Marks(NamedTuple):
  """What is drawn over a film, of which any may be missing.

  Attributes:
    heat: as of `overlay`.
    regions: as of `overlay`.
    mask, points, frames: as of `draw_hand`.
  """

  heat: np.ndarray | None = None
  regions: Mapping[str, Any] = types.MappingProxyType({})
  mask: np.ndarray | None = None
  points: np.ndarray | None = None
  frames: Mapping[str, np.ndarray] = types.MappingProxyType({})


class Layers(NamedTuple):
  """A film and what is drawn over it, as pictures of one size.

  Attributes:
    film: uint8 [h, w].
    heat: uint8 RGBA [h, w, 4]; None without heat.
    marks: regions, outline and points, uint8 RGBA [h, w, 4]; None without.
  """

  film: np.ndarray
  heat: np.ndarray | None
  marks: np.ndarray | None


def layers(film: np.ndarray, marks: Marks, height: int) -> Layers:
  """Draw what `drawn` shows as one, each by itself.

  Args:
    film: uint8 [H, W].
    marks: on it.
    height: of the pictures in pixels.
  """
  size = _size(film, height)
  heat = None
  if _is_warm(marks.heat):
    colour, alpha = _heat(marks.heat, size)
    alpha = np.rint(255 * alpha).astype(np.uint8)
    heat = np.concatenate([colour, alpha], axis=-1)
  clear = np.zeros((height, size[0], 4), np.uint8)
  lines = np.array(clear)
  _draw_boxes(lines, marks.regions)
  lines = draw_hand(lines, marks.mask, marks.points, marks.frames)
  return Layers(_grey(film, size), heat, lines if lines.any() else None)


def drawn(film: np.ndarray, marks: Marks) -> np.ndarray:
  """Draw a film and marks on it, as `overlay`."""
  picture = overlay(film, marks.heat, marks.regions)
  return draw_hand(picture, marks.mask, marks.points, marks.frames)


def overlay(
  film: np.ndarray,
  heat: np.ndarray | None = None,
  regions: Mapping[str, Any] | None = None,
  height: int = 440,
) -> np.ndarray:
  """Draw heat and region boxes on a film.

  Args:
    film: uint8 [H, W].
    heat: over the film at any resolution and scale; values below 0 count as 0.
    regions: region -> (box, score, found); a region not found is not drawn.
    height: of the picture in pixels.

  Returns:
    uint8 RGB [height, W * height / H, 3].
  """
  size = _size(film, height)
  picture = cv2.cvtColor(_grey(film, size), cv2.COLOR_GRAY2RGB)
  if _is_warm(heat):
    colour, alpha = _heat(heat, size)
    picture = np.rint(picture * (1 - alpha) + colour * alpha).astype(np.uint8)
  picture = np.ascontiguousarray(picture)
  _draw_boxes(picture, regions or {})
  return picture


def _size(film: np.ndarray, height: int) -> tuple[int, int]:
  """Return width and height of a film's picture."""
  return max(1, round(film.shape[1] * height / film.shape[0])), height


def _grey(film: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  matrix = geometry.fit_matrix(film.shape, size[::-1])
  grey = geometry.warp(film, matrix, size[::-1])
  return cv2.LUT(grey, intensity.tone_lut(grey, percentiles=(1, 99.5)))


def _is_warm(heat: np.ndarray | None) -> bool:
  return heat is not None and np.max(heat) > 0


def _heat(
  heat: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
  """Return colours, uint8 [h, w, 3], and how far they hide, [h, w, 1]."""
  heat = np.maximum(np.asarray(heat, np.float32), 0) / np.max(heat)
  heat = cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR)
  colour = cv2.applyColorMap(
    np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO
  )[..., ::-1]
  return colour, 0.75 * heat[..., None] ** 0.7


def _draw_boxes(picture: np.ndarray, regions: Mapping[str, Any]) -> None:
  """Draw the regions that were found on uint8 RGB or RGBA."""
  size = picture.shape[1::-1]
  for k, (box, _, found) in enumerate(regions.values()):
    if found:
      corners = np.array(box).reshape(2, 2) * size
      low, high = np.rint(corners).astype(int)
      low, high = np.maximum(low, 1), np.minimum(high, np.array(size) - 2)
      # A dark rim keeps the line visible on bone.
      for colour, line in ((DARK, 4), (COLOURS[k % 3], 2)):
        cv2.rectangle(
          *(picture, low.tolist(), high.tolist(), (*colour, 255)),
          *(line, cv2.LINE_AA),
        )


def draw_hand(
  picture: np.ndarray,
  mask: np.ndarray | None = None,
  points: np.ndarray | None = None,
  frames: Mapping[str, np.ndarray] = types.MappingProxyType({}),
) -> np.ndarray:
  """Draw the outline of a mask, points and turned frames on a film's picture.

  Args:
    picture: uint8 RGB [H, W, 3], of `overlay`, or RGBA; it stays as it is.
    mask: [h, w] over the film at any resolution, not 0 inside.
    points: [K, 2], fractions of the film; NaN is not drawn.
    frames: region -> [4, 2], corners in fractions of the film.

  Returns:
    uint8, as the picture.
  """
  picture = np.array(picture)
  size = picture.shape[1::-1]
  lines = []
  if mask is not None:
    matrix = geometry.fit_matrix(mask.shape, size[::-1])
    shown = geometry.warp(mask, matrix, size[::-1])
    inside = (shown > 127).astype(np.uint8)
    outline, _ = cv2.findContours(
      inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    lines = [(part, OUTLINE) for part in outline]
  for k, corners in enumerate(frames.values()):
    lines.append((_pixels(corners, size), COLOURS[k % 3]))
  # A dark rim keeps lines visible on bone.
  for colours, width in (((DARK,) * len(lines), 4), ([c for _, c in lines], 2)):
    for (line, _), colour in zip(lines, colours, strict=True):
      cv2.polylines(picture, [line], True, (*colour, 255), width, cv2.LINE_AA)
  for point in () if points is None else points:
    if np.isfinite(point).all():
      place = _pixels(point, size).tolist()
      cv2.circle(picture, place, 6, (*DARK, 255), -1, cv2.LINE_AA)
      cv2.circle(picture, place, 4, (*POINT, 255), -1, cv2.LINE_AA)
  return picture


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
  """Return a picture with a text below it, uint8 RGB [H + h, W, 3]."""
  width = max(picture.shape[1] // LETTER, 12)
  lines = textwrap.wrap(text.encode('ascii', 'replace').decode(), width)
  height = LINE * len(lines) + LINE // 2
  strip = np.zeros((height, picture.shape[1], 3), np.uint8)
  for k, line in enumerate(lines, start=1):
    cv2.putText(
      *(strip, line, (4, LINE * k), cv2.FONT_HERSHEY_SIMPLEX, 0.36),
      *((255, 255, 255), 1, cv2.LINE_AA),
    )
  return np.concatenate([picture, strip])


def sheet(cells: Sequence[np.ndarray], columns: int) -> np.ndarray:
  """Lay pictures side by side, in rows.

  Args:
    cells: uint8 RGB [h, w, 3] each, from the left and the top.
    columns: pictures of a row.

  Returns:
    uint8 RGB [H, W, 3], black where a picture is smaller than others.
  """
  height = max(one.shape[0] for one in cells)
  width = max(one.shape[1] for one in cells)
  rows = -(-len(cells) // columns)
  whole = np.zeros((rows * height, columns * width, 3), np.uint8)
  for k, one in enumerate(cells):
    y, x = height * (k // columns), width * (k % columns)
    whole[y : y + one.shape[0], x : x + one.shape[1]] = one
  return whole


def _pixels(fractions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Return pixels of points far beyond the picture, too, int32."""
  return np.rint(np.clip(fractions * size - 0.5, -9999, 9999)).astype(np.int32)


def film_heat(
  maps: np.ndarray, film_hw: tuple[int, int], resize: str = 'squash'
) -> np.ndarray:
  """Merge maps [R, h, w] of the net's input into one over the film.

  Each map counts relative to its own peak; a pixel takes the largest. The map
  is as fine as `geometry.over_film` makes it.
  """
  maps = np.maximum(np.asarray(maps, np.float32), 0)
  maps = maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
  input_hw = maps.shape[1:]
  matrix = geometry.fit_matrix(film_hw, input_hw, resize)
  return geometry.over_film(maps.max(axis=0), matrix, input_hw, film_hw)


def jpeg(picture: np.ndarray) -> bytes:
  """Encode uint8 RGB as JPEG."""
  done, data = cv2.imencode(
    '.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82]
  )
  if not done:
    raise ValueError(f'Expected an RGB picture, got shape {picture.shape}.')
  return data.tobytes()
