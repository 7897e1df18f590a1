"""Films with marked landmarks: what forests train on and are judged by."""

from collections.abc import Mapping
import json
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.core import sizes
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.imaging import annotations
from boneage_jax.imaging import geometry
from boneage_jax.imaging import intensity
from boneage_jax.imaging import ossification
from boneage_jax.imaging import points as points_lib
from boneage_jax.models import forest as forest_lib

SHOWN = 5  # films that a line names
# What there is to find: names, by what readers drew. A capitate that nobody
# marked is worked out from other points: it is none of them.
LANDMARKS = {
  'keypoints': annotations.POINTS[:-1],
  'ossification': ossification.LANDMARKS,
}


class Marked(NamedTuple):
  """Films on which all landmarks are known.

  Attributes:
    films: their table, N rows.
    images: uint8 [N, S, S], the input.
    points: float64 [N, L, 2], x and y in pixels of the input.
    to_film: float64 [N, 2, 3], input pixel -> film pixel.
    film_hw: int [N, 2].
  """

  films: film_table.Films
  images: np.ndarray
  points: np.ndarray
  to_film: np.ndarray
  film_hw: np.ndarray

  def select(self, keep: np.ndarray) -> 'Marked':
    """Return some of the films."""
    return Marked(
      film_table.select(self.films, keep), *(a[keep] for a in self[1:])
    )


def of_film(
  film: Mapping[str, Any], kind: str, film_hw: tuple[int, int]
) -> np.ndarray:
  """Return the landmarks of a film in its pixels, [L, 2], NaN where unknown.

  Args:
    film: annotations of one film, as annotations.load gives them.
    kind: one of LANDMARKS.
    film_hw: height and width of the film.
  """
  if kind == 'ossification':
    return ossification.centres(film, film_hw) - 0.5
  return points_lib.of_film(film, LANDMARKS[kind]) * film_hw[::-1] - 0.5


def hand_length(points: np.ndarray, kind: str) -> np.ndarray:
  """Return the length of hands with the landmarks [..., L, 2].

  Of key points from the wrist to the middle finger's tip, of boxes from the
  wrist to the farthest DIP.
  """
  if kind == 'ossification':
    return ossification.hand_length(points)
  place = LANDMARKS[kind].index
  way = points[..., place('middle_finger4'), :] - points[..., place('wrist'), :]
  return np.linalg.norm(way, axis=-1)


def view(film: np.ndarray, options: Any) -> tuple[np.ndarray, np.ndarray]:
  """Return the input that a film becomes, uint8 [S, S], and the way there.

  Args:
    film: uint8 [H, W], bones bright.
    options: size, resize and percentiles.
  """
  size_hw = sizes.size_hw(options.size)
  matrix = geometry.fit_matrix(film.shape, size_hw, options.resize)
  lut = intensity.tone_lut(film, percentiles=options.percentiles)
  return cv2.LUT(geometry.warp(film, matrix, size_hw), lut), matrix


def read(config: Any, stage: str, workdir: str) -> Marked:
  """Read the films whose landmarks are known.

  It is said which films are left out, though readers drew on them, and why.

  Raises:
    ValueError: there is none.
  """
  section = config[stage]
  options, kind = section.input, section.landmarks
  films, _ = selection.split_films(config, workdir, options.builder_config)
  wanted = {'ossification_boxes'}
  if kind == 'keypoints':
    wanted = set(LANDMARKS[kind])
  drawn = [bool(wanted & {*marks.split()}) for marks in films['marks'].tolist()]
  films = film_table.select(films, np.array(drawn, bool))
  rotations = selection.film_rotations(workdir, options.orientation_from)
  source = sources.whole_films(
    config, workdir, options.builder_config, films, rotations
  )
  keep, rows, partly = [], [], []
  for i, film in enumerate(films['id'].tolist()):
    if lost := wanted - {*films['marks'][i].split()}:
      partly.append(f'{film} (no {", ".join(sorted(lost))})')
      continue
    record = source[i]
    image = preprocess.decode(record)
    found = json.loads(record['annotations'] or '{}')
    points = of_film(found, kind, image.shape)
    if np.isnan(points).any():
      why = ossification.fault(found) if kind == 'ossification' else 'turned'
      print(f'{stage}: film {film} is left out: {why}')
      continue
    image = 255 - image if options.polarity == 'invert' else image
    seen, matrix = view(image, options)
    keep.append(i)
    points = points_lib.move(points, matrix)
    rows.append((seen, points, geometry.inverse(matrix), image.shape))
  if partly:
    print(
      f'{stage}: {len(partly)} films that lack landmarks are left out: '
      f'{"; ".join(partly[:SHOWN])}{"; ..." * (len(partly) > SHOWN)}'
    )
  if not rows:
    raise ValueError(
      f'{stage}: no film has all landmarks of the kind {kind!r}. Mark them on '
      '50 films or more, see docs/reference/data.md, or change '
      f'--config.{stage}.landmarks.'
    )
  columns = map(np.array, zip(*rows, strict=True))
  return Marked(film_table.select(films, np.array(keep)), *columns)


class Finder:
  """Finds landmarks with a forest.

  Attributes:
    hand: mean length of the hands of its training films, pixels of the input.
  """

  def __init__(
    self, forest: Mapping[str, np.ndarray], hand: float, section: Any
  ):
    """Take a forest and the section of the config that says how it votes."""
    keys = forest_lib.KEYS + forest_lib.NEAR
    self._forest = {name: forest[name] for name in keys}
    self.hand = float(hand)
    self._section = section

  def __call__(
    self, image: np.ndarray, weighting: str = ''
  ) -> dict[str, np.ndarray]:
    """Find the landmarks of an input [S, S], see forest.locate.

    Args:
      image: uint8.
      weighting: '' is that of the config.
    """
    options = self._section.votes
    weighted = (weighting or options.weighting) == 'distance'
    found = forest_lib.locate(
      self._forest,
      forest_lib.integral(image).astype(np.int32),
      options.sigma * self.hand if weighted else np.inf,
      options.near * self.hand,
      options.smooth * self.hand,
      size_hw=image.shape,
      depth=self._section.depth,
      step=options.step,
      passes=options.passes,
    )
    return {name: np.asarray(value) for name, value in found.items()}


def load(config: Any, stage: str, workdir: str) -> Finder:
  """Load the forest that a stage has fitted.

  Raises:
    ValueError: it has not run.
  """
  path = stages.path(workdir, stage, stages.FOREST)
  if not storage.exists(path):
    raise ValueError(
      f'{path} is missing: run the stage {stage!r} first, which fits it.'
    )
  with storage.naming(path), storage.reading(path, 'rb') as file:
    arrays = dict(np.load(file))
    return Finder(arrays, arrays['hand'], config[stage])


def percent_of_hand(
  found: np.ndarray, marked: Marked, kind: str
) -> tuple[np.ndarray, np.ndarray]:
  """Return errors [N, L] in % of the hand's length, and in pixels of films.

  Args:
    found: [N, L, 2], pixels of the input.
    marked: the films.
    kind: one of LANDMARKS.
  """
  true, found = on_film(marked.points, marked), on_film(found, marked)
  pixels = np.linalg.norm(found - true, axis=-1)
  return 100 * pixels / hand_length(true, kind)[:, None], pixels


def on_film(points: np.ndarray, marked: Marked) -> np.ndarray:
  """Return points [N, L, 2] of the input in pixels of the films."""
  pairs = zip(points, marked.to_film, strict=True)
  return np.stack([points_lib.move(one, matrix) for one, matrix in pairs])
