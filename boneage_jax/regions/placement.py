"""Where films lie on the canvas: by their points, or else by their mask.

Annotated training films say what is plausible, see imaging/registration.py. A
film whose points are not is registered by its mask, see imaging/palm.py, and
without one, or where that has no hand, it is kept as it is.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.core import sizes
from boneage_jax.data import film_masks
from boneage_jax.imaging import boxes
from boneage_jax.imaging import geometry
from boneage_jax.imaging import palm
from boneage_jax.imaging import plausible_points
from boneage_jax.imaging import points as points_lib
from boneage_jax.imaging import registration

BY_POINTS, BY_MASK, FAILED = 'points', 'mask', 'failed'
STATUS = (BY_POINTS, BY_MASK, FAILED)
NO_MASK = 'no_mask'  # or a refused one, beside what is wrong with the points


@dataclasses.dataclass(frozen=True)
class Hands:
  """Points of films, fractions of width and height, in one order of films.

  Attributes:
    id: text [N].
    split: text [N].
    found: float64 [N, 3, 2], where a net says registration.POINTS are.
    marked: float64 [N, 3, 2], where readers marked them, NaN where not.
    film_hw: int [N, 2], height and width of the films that the net saw.
  """

  id: np.ndarray
  split: np.ndarray
  found: np.ndarray
  marked: np.ndarray
  film_hw: np.ndarray


class Known(NamedTuple):
  """What annotated training films say.

  Attributes:
    limits: see plausible_points.fit_limits.
    side: of the thumb on the canvas, see registration.majority_side.
    rule: of masks, see palm.fit_rule; None where there are no masks.
  """

  limits: plausible_points.Limits
  side: int
  rule: palm.Rule | None


class Placed(NamedTuple):
  """How a film was registered.

  Attributes:
    registration: of the film, None where it is kept as it is.
    status: one of STATUS.
    reason: why not by its points, words with blanks between; '' if so.
  """

  registration: registration.Registration | None
  status: str
  reason: str


class Hand(NamedTuple):
  """What was found of the hand on a film.

  Attributes:
    placed: how the film was registered.
    regions: names of those that were cut.
    points: float64 [3, 2], where a net says registration.POINTS are, fractions.
    mask: uint8 [H, W] of the film, 255 inside, also a refused one; None where
      no net finds masks.
    mask_reason: why the mask was refused, see mask_quality; '' if it was not.
  """

  placed: Placed
  regions: tuple[str, ...]
  points: np.ndarray
  mask: np.ndarray | None
  mask_reason: str


def pixels(fractions: np.ndarray, film_hw: np.ndarray) -> np.ndarray:
  """Return points [..., K, 2] of films [..., 2] in pixels."""
  return fractions * np.asarray(film_hw)[..., None, ::-1] - 0.5


def fractions(points: np.ndarray, film_hw: np.ndarray) -> np.ndarray:
  """Undo `pixels`."""
  return (points + 0.5) / np.asarray(film_hw)[..., None, ::-1]


def of_net(
  rows: Mapping[str, np.ndarray], name: str, names: Sequence[str]
) -> np.ndarray:
  """Return registration.POINTS of films, fractions of them, [N, 3, 2].

  Args:
    rows: what `forward.points_of_film` says of films.
    name: of the rows, 'points' or 'points_true'.
    names: of the points of the net, in its order.
  """
  take = [names.index(one) for one in registration.POINTS]
  film_hw = np.rint(rows['film_hw']).astype(int)
  return fractions(rows[name][:, take].astype(np.float64), film_hw)


def learn(hands: Hands, masks: Mapping[str, film_masks.FilmMask]) -> Known:
  """Learn from the marked points of training films.

  Args:
    hands: of all films; those for validation and test are not looked at.
    masks: by film id, as far as there are any.

  Raises:
    ValueError: no training film has all points, or there are masks, but none of
      a hand whose points are marked.
  """
  train = hands.split == 'train'
  hw = hands.film_hw[train]
  marked = pixels(hands.marked[train], hw)
  limits = plausible_points.fit_limits(marked, hw)
  side = registration.majority_side(marked)
  if not masks:
    return Known(limits, side, None)
  seen = []
  for film, points, one_hw in zip(
    hands.id[train].tolist(), marked, hw.tolist(), strict=True
  ):
    mask, size = masks.get(film), tuple(one_hw)
    if mask is None or registration.degenerate(points):
      continue
    with contextlib.suppress(ValueError):  # a mask without fingers
      hand = palm.find(mask.on_film(size), size)
      seen.append((hand, registration.register(points, size, side)))
  return Known(limits, side, palm.fit_rule(seen))


def recall(figures: Mapping[str, Any]) -> Known:
  """Return what was learned, of the content of registration.json."""
  limits = {name: tuple(ends) for name, ends in figures['limits'].items()}
  rule = figures['rule'] and palm.Rule(**figures['rule'])
  return Known(limits, figures['side'], rule)


def place(
  points: np.ndarray,
  film_hw: tuple[int, int],
  mask: np.ndarray | None,
  known: Known,
) -> Placed:
  """Register a film by its points, or by its mask where they have a fault.

  Args:
    points: [3, 2], registration.POINTS in pixels of the film.
    film_hw: height and width of the film.
    mask: uint8 [H, W] of the film, not 0 inside, where there is one.
    known: of `learn`.
  """
  faults = plausible_points.faults(points, film_hw, known.limits)
  if not faults:
    by_points = registration.register(points, film_hw, known.side)
    return Placed(by_points, BY_POINTS, '')
  if mask is None or known.rule is None:
    return Placed(None, FAILED, ' '.join((*faults, NO_MASK)))
  try:
    hand = palm.find(mask, film_hw)
  except ValueError:
    return Placed(None, FAILED, ' '.join((*faults, palm.NO_HAND)))
  by_mask = palm.register(hand, film_hw, known.rule, known.side)
  return Placed(by_mask, BY_MASK, ' '.join(faults))


def place_and_cut(
  film: np.ndarray,
  found: np.ndarray,
  mask: np.ndarray | None,
  known: Known,
  options: Any,
) -> tuple[Placed, list[np.ndarray]]:
  """Register a film and cut its regions.

  Args:
    film: uint8 [H, W], bones bright.
    found: [3, 2], registration.POINTS in fractions of the film.
    mask: uint8 [H, W] of the film, not 0 inside, where there is one.
    known: of `learn`.
    options: regions (names), crop_size (one each), crop_margin, background.

  Returns:
    how it was registered, and the regions, see `cut`.
  """
  placed = place(pixels(found, film.shape), film.shape, mask, known)
  if mask is not None and options.background == 'black':
    film = on_black(film, mask)
  return placed, [
    cut(film, placed, region, sizes.size_hw(size), options.crop_margin)
    for region, size in zip(options.regions, options.crop_size, strict=True)
  ]


def stored_hw(size_hw: tuple[int, int], margin: float) -> tuple[int, int]:
  """Return the size of a stored crop, its margin of whole pixels included.

  Args:
    size_hw: height and width of the crop at the net.
    margin: kept all round for augmentation, share of its sides.
  """
  rows, columns = boxes.margin_pixels(size_hw, margin)
  return size_hw[0] + 2 * rows, size_hw[1] + 2 * columns


def cut(
  film: np.ndarray,
  placed: Placed,
  region: str,
  size_hw: tuple[int, int],
  margin: float,
) -> np.ndarray:
  """Cut a region, or the whole film where it was not registered.

  Args:
    film: uint8 [H, W], bones bright.
    placed: of the film.
    region: a name of registration.REGIONS.
    size_hw, margin: as of `stored_hw`.

  Returns:
    uint8 of `stored_hw`, in one resampling. Of a film that was not registered
    all of it, with its own aspect, within the margin.
  """
  hw = stored_hw(size_hw, margin)
  rows, columns = boxes.margin_pixels(size_hw, margin)
  around = np.array([columns / size_hw[1], rows / size_hw[0]])
  if placed.registration is not None:
    return registration.cut(film, placed.registration, region, hw, around)
  box = (*-around, *(1 + around))
  matrix = geometry.fit_matrix(film.shape, hw, 'letterbox', box)
  return geometry.warp(film, matrix, hw)


def frames(matrix: np.ndarray, regions: Sequence[str]) -> dict[str, np.ndarray]:
  """Return where regions lie on a film: name -> its corners, [4, 2].

  Args:
    matrix: [2, 3], film -> canvas pixel. Corners are in the film's units.
    regions: names of registration.REGIONS.
  """
  back, found = geometry.inverse(matrix), {}
  for region in regions:
    (height, width), (x, y) = registration.REGIONS[region]
    around = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    corners = (x, y) + around * (width / 2, height / 2) - 0.5  # edges of pixels
    found[region] = points_lib.move(corners, back)
  return found


def on_black(film: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Return a film whose pixels outside of a mask [H, W] are 0."""
  return cv2.bitwise_and(film, film, mask=mask)
