"""Heat map -> connected component -> box, and the regions.csv file.

Boxes are x0, y0, x1, y1 in fractions of the film's width and height, origin
top left, at pixel edges: the whole film is (0, 0, 1, 1).
"""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.core import ids
from boneage_jax.core import storage
from boneage_jax.core import tables

WHOLE_FILM = (0.0, 0.0, 1.0, 1.0)
GRAIN = 8  # see `_blur`
COLUMNS = ('id', 'region', 'x0', 'y0', 'x1', 'y1', 'score', 'found')


class Region(NamedTuple):
  """A box of a film, how much of the heat it holds, whether it was found."""

  box: tuple[float, float, float, float]
  score: float
  found: bool


def box_from_map(
  heat: np.ndarray,
  threshold: float = 50 / 255,
  component: str = 'peak',
  *,
  margin: float = 0.0,
  minimum_side: float = 0.2,
  smooth: float = 0.0,
  film_hw: tuple[int, int] | None = None,
) -> Region:
  """Return the tight box of one connected component of a heat map.

  Args:
    heat: [H, W], over the film at any resolution, see `geometry.over_film`;
      values below 0 count as 0.
    threshold: a pixel is hot from this fraction of the maximum on.
    component: 'peak', the one that holds the maximum (Li 2023, "peak-attention
      area"), or 'largest' by area (Chen 2020, authors' code).
    margin: fraction of the box's side added at every side, cut at the film.
    minimum_side: fraction of the film; a smaller side grows about its centre
      and is moved inside the film.
    smooth: standard deviation of a Gaussian applied first, as a fraction of
      the film's shorter side.
    film_hw: height and width of the film; those of `heat` when None. Only
      their ratio counts.

  Returns:
    A Region whose score is the share of all heat inside the box. A map without
    any heat, or with a value that is not finite, gives the whole film, score 0
    and found=False.
  """
  if heat.ndim != 2:
    raise ValueError(f'A heat map has shape [H, W], got {heat.shape}.')
  if component not in ('peak', 'largest'):
    raise ValueError(f"component is 'peak' or 'largest', got {component!r}.")
  if not 0 < threshold <= 1:
    raise ValueError(
      f'The threshold is a fraction of the maximum in (0, 1], got'
      f' {threshold}: divide a grey level by 255.'
    )
  heat = np.maximum(np.asarray(heat, np.float32), 0)  # NaN stays NaN.
  peak = heat.max(initial=0)
  if not np.isfinite(peak) or peak <= 0:
    return Region(WHOLE_FILM, 0.0, False)
  heat = heat / peak
  if smooth:
    heat = _blur(heat, smooth, film_hw or heat.shape)
    heat /= heat.max()
  hot = (heat >= threshold).astype(np.uint8)
  _, labels, statistics, _ = cv2.connectedComponentsWithStats(hot)
  if component == 'peak':
    label = labels.flat[np.argmax(heat)]
  else:
    label = 1 + np.argmax(statistics[1:, cv2.CC_STAT_AREA])
  left, top, width, height = statistics[label, :4]
  rows, columns = heat.shape
  x0, x1 = _side(left, left + width, columns, margin, minimum_side)
  y0, y1 = _side(top, top + height, rows, margin, minimum_side)
  inside = heat[
    round(y0 * rows) : round(y1 * rows),
    round(x0 * columns) : round(x1 * columns),
  ]
  score = inside.sum(dtype=np.float64) / heat.sum(dtype=np.float64)
  return Region((x0, y0, x1, y1), float(score), True)


def _blur(
  heat: np.ndarray, smooth: float, film_hw: tuple[int, int]
) -> np.ndarray:
  """Blur a map over a film by `smooth` of the film's shorter side.

  A blurred map has no detail: it is worked out at GRAIN pixels to a standard
  deviation, or at the map's own where they are fewer.
  """
  sigmas = smooth * min(film_hw) / np.array(film_hw) * heat.shape
  shrink = np.maximum(sigmas / GRAIN, 1)
  hw = np.maximum(np.ceil(np.array(heat.shape) / shrink), 1).astype(int)
  small = cv2.resize(heat, hw[::-1].tolist(), interpolation=cv2.INTER_AREA)
  # The mean over d pixels and the bilinear samples widen it by d ** 2 / 4.
  steps = heat.shape / hw
  sigmas = np.sqrt(sigmas**2 - np.where(steps > 1, steps**2 / 4, 0)) / steps
  small = cv2.GaussianBlur(small, (0, 0), sigmas[1], sigmaY=sigmas[0])
  return cv2.resize(small, heat.shape[::-1], interpolation=cv2.INTER_LINEAR)


def expand(
  box: tuple[float, float, float, float], fraction: float
) -> tuple[float, float, float, float]:
  """Return the box with `fraction` of its sides added all round, not cut."""
  x0, y0, x1, y1 = box
  x, y = fraction * (x1 - x0), fraction * (y1 - y0)
  return x0 - x, y0 - y, x1 + x, y1 + y


def crop_box(
  regions: Mapping[str, Region], name: str, margin: float
) -> tuple[float, float, float, float]:
  """Return the box of a picture of a film, which may reach over the film.

  Args:
    regions: of the film, by name.
    name: of a region, or 'film' or 'erased', which show all of the film.
    margin: fraction of the box's sides added all round.
  """
  whole = name in ('film', 'erased')
  return expand(WHOLE_FILM if whole else regions[name].box, margin)


def margin_pixels(size_hw: tuple[int, int], margin: float) -> tuple[int, int]:
  """Return how many whole pixels, at top and left, a margin takes.

  Args:
    size_hw: height and width of a crop without it.
    margin: fraction of these added all round.
  """
  return round(margin * size_hw[0]), round(margin * size_hw[1])


def within_margin(
  crop_hw: tuple[int, int], size_hw: tuple[int, int], margin: float
) -> tuple[float, float, float, float]:
  """Return the box of a stored crop without its margin.

  Args:
    crop_hw: height and width of the crop in pixels.
    size_hw: those of the net's input. A crop of this size and `margin_pixels`
      loses these, and no pixel is resampled.
    margin: fraction of the box's sides that was added all round.
  """
  (height, width), pads = size_hw, margin_pixels(size_hw, margin)
  x = y = margin / (1 + 2 * margin)
  if tuple(crop_hw) == (height + 2 * pads[0], width + 2 * pads[1]):
    y, x = pads[0] / crop_hw[0], pads[1] / crop_hw[1]
  return x, y, 1 - x, 1 - y


def film_within(
  box: tuple[float, float, float, float],
) -> tuple[float, float, float, float]:
  """Return where the film lies in a crop of `box`, in fractions of the crop."""
  x0, y0, x1, y1 = box
  xs, ys = -x0 / (x1 - x0), -y0 / (y1 - y0)
  ends = xs, ys, xs + 1 / (x1 - x0), ys + 1 / (y1 - y0)
  return tuple(min(max(end, 0.0), 1.0) for end in ends)


def holes(
  regions: Mapping[str, Region], names: Iterable[str], fill: str, film: str
) -> list[tuple[tuple[float, float, float, float], int]]:
  """Return what to paint over a film: a box and a grey per region.

  Args:
    regions: of the film, by name. One that was not found hides nothing: the
      whole film, which stands for it, would leave nothing.
    names: of regions to paint over, of those that are there.
    fill: 'black' (Li 2023), or 'random_constant', one grey per film (Chen
      2020, authors' code).
    film: its id, which seeds that grey.
  """
  if fill == 'black':
    grey = 0
  elif fill == 'random_constant':
    grey = int(np.random.default_rng(ids.number(film)).integers(255))
  else:
    raise ValueError(f"fill is 'black' or 'random_constant', got {fill!r}")
  known = [regions[name] for name in names if name in regions]
  return [(region.box, grey) for region in known if region.found]


def summary(
  found: Mapping[str, Mapping[str, Region]], names: Iterable[str]
) -> dict[str, Any]:
  """Count films, and per region of `names` how often and how large it is.

  Returns:
    films; and region -> share for found, count for not_found, and share of the
    film for median_area.
  """
  out = {'films': len(found), 'found': {}, 'not_found': {}, 'median_area': {}}
  for name in names:
    regions = [of_film[name] for of_film in found.values()]
    missing = sum(not region.found for region in regions)
    x0, y0, x1, y1 = np.array([region.box for region in regions]).T
    out['found'][name] = 1 - missing / len(regions)
    out['not_found'][name] = missing
    out['median_area'][name] = float(np.median((x1 - x0) * (y1 - y0)))
  return out


def write_regions(path: str, rows: Iterable[tuple[str, str, Region]]) -> None:
  """Write rows (id, region name, Region) to a regions.csv, atomically."""
  with storage.replacing(path) as file:
    writer = tables.Writer(file)
    writer.writerow(COLUMNS)
    for film, name, region in rows:
      numbers = [f'{value:.6f}' for value in (*region.box, region.score)]
      writer.writerow([film, name, *numbers, int(region.found)])


def read_regions(path: str) -> dict[str, dict[str, Region]]:
  """Return {id: {region name: Region}} from a regions.csv."""
  regions: dict[str, dict[str, Region]] = {}
  with storage.naming(path), storage.reading(path) as file:
    for row in tables.read_dicts(file, path, COLUMNS):
      box = tuple(float(row[name]) for name in COLUMNS[2:6])
      region = Region(box, float(row['score']), row['found'] == '1')
      regions.setdefault(row['id'], {})[row['region']] = region
  return regions


def _side(
  first: int, last: int, size: int, margin: float, minimum: float
) -> tuple[float, float]:
  low, high = first / size, last / size
  extra = margin * (high - low)
  low, high = max(0.0, low - extra), min(1.0, high + extra)
  if high - low < minimum:
    low = min(max(0.0, (low + high - minimum) / 2), 1.0 - minimum)
    high = low + minimum
  return float(low), float(high)


# Raters of the ossification boxes, the one to believe first.
RATERS = ('expert', 'train', 'nonexpert')


def _area(box: np.ndarray) -> np.ndarray:
  side = np.maximum(box[..., 2:] - box[..., :2], 0)
  return side[..., 0] * side[..., 1]


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  low = np.maximum(a[..., :2], b[..., :2])
  high = np.minimum(a[..., 2:], b[..., 2:])
  return _area(np.concatenate([low, high], axis=-1))


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Return intersection over union of boxes [..., 4]; 0 if both are empty."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  both = _overlap(a, b)
  union = _area(a) + _area(b) - both
  return both / np.where(union > 0, union, 1)


def annotated_boxes(film: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Return the boxes [K, 4] of each label by the first of RATERS present."""
  boxes = film.get('boxes') or []
  present = {rater for rater, _, _ in boxes}
  order = [r for r in RATERS if r in present] + sorted(present - set(RATERS))
  out = collections.defaultdict(list)
  for rater, label, box in boxes:
    if rater == order[0]:
      out[label].append(box)
  return {label: np.array(b, np.float64) for label, b in out.items()}
