"""Boxes, key points and outlines of films, kept beside the archive.

All coordinates are fractions of film width and height, origin top left, so
they hold at any resolution of the same film.
"""

from collections.abc import Callable
from collections.abc import Iterator
import json
import math
import os
from typing import Any

from boneage_jax.core import ids
from boneage_jax.core import scalars
from boneage_jax.core import tables

FINGERS = (
  'thumb',
  'forefinger',
  'middle_finger',
  'ring_finger',
  'pinky_finger',
)
# 4 is the tip; the wrist lies at the proximal edge of the carpus, `capitate` in
# the middle of that bone.
POINTS = (
  'wrist',
  *(f'{f}{i}' for f in FINGERS for i in range(1, 5)),
  'capitate',
)
LABELS = ('DIP', 'PIP', 'MCP', 'Radius', 'Ulna', 'Wrist')
# Forms of what is drawn on a film.
POLYGON = '{"exterior": [[x, y], ...], "interior": [...]}'
FRACTURE = (
  '{"polygons": [...], "boxes": [[x0, y0, x1, y1], ...], '
  '"strokes": [[[x, y], ...], ...]}'
)
SCALARS = 'scalars.csv'
OVERSHOOT = 0.05  # hand-drawn boxes may leave the film by this much


def load(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
  """Loads the annotations of every film in a folder.

  Args:
    folder: holds any of hand_boxes.csv, hand_keypoints.csv,
      ossification_boxes.csv, hand_polygons.json, fracture_labels.csv (columns
      id, study, finding; films of one hand share the study), scalars.csv
      (columns id and some of core/scalars.py, as chronological_age, months) and
      fracture_masks.json ({id: {"polygons": [...], "boxes": [[x0, y0, x1,
      y1], ...], "strokes": [[[x, y], ...], ...]}}, polygons as those of hands).

  Returns:
    Per film id any of `hand_box` [x0, y0, x1, y1], `keypoints` [22][2] in the
    order of POINTS (nan where a point was not marked), `boxes` list of
    [rater, label, [x0, y0, x1, y1]], `polygons` list of
    {'exterior': [[x, y], ...], 'interior': [[[x, y], ...], ...]}, `study`,
    `finding` (a class name, such as 'none'), `fracture` {'polygons',
    'boxes', 'strokes'} and numbers of core/scalars.py by their names.
    Plain lists and floats: what JSON keeps. A missing folder gives {}.
  """
  films: dict[str, dict[str, Any]] = {}

  path = os.path.join(folder, 'hand_boxes.csv')
  for where, film, row in _rows(path, ('x0', 'y0', 'x1', 'y1')):
    if 'hand_box' in films.setdefault(film, {}):
      raise ValueError(f'{where}: a second hand box; expected one per film.')
    films[film]['hand_box'] = _box(row, where)

  path = os.path.join(folder, 'hand_keypoints.csv')
  for where, film, row in _rows(path, ('point', 'x', 'y')):
    if row['point'] not in POINTS:
      raise ValueError(
        f'{where}: unknown point {row["point"]!r}; expected one of '
        f'{", ".join(POINTS)}.'
      )
    points = films.setdefault(film, {}).setdefault(
      'keypoints', [[math.nan, math.nan] for _ in POINTS]
    )
    points[POINTS.index(row['point'])] = [
      _fraction(row[k], where) for k in ('x', 'y')
    ]

  path = os.path.join(folder, 'ossification_boxes.csv')
  for where, film, row in _rows(
    path, ('rater', 'label', 'x0', 'y0', 'x1', 'y1')
  ):
    if row['label'] not in LABELS:
      raise ValueError(
        f'{where}: unknown label {row["label"]!r}; expected one of '
        f'{", ".join(LABELS)}.'
      )
    films.setdefault(film, {}).setdefault('boxes', []).append(
      [row['rater'], row['label'], _box(row, where)]
    )

  path = os.path.join(folder, 'hand_polygons.json')
  outlines = lambda drawn, where: [_polygon(one, where) for one in drawn]
  for film, found in _drawn(path, f'[{POLYGON}, ...]', outlines):
    films.setdefault(film, {})['polygons'] = found

  path = os.path.join(folder, 'fracture_labels.csv')
  for where, film, row in _rows(path, ('study', 'finding')):
    films.setdefault(film, {}).update(
      study=_film_id(row['study'], where), finding=row['finding'].strip()
    )

  path = os.path.join(folder, SCALARS)
  for where, film, row in _rows(path, ()):
    films.setdefault(film, {}).update(_scalars(row, where))

  path = os.path.join(folder, 'fracture_masks.json')
  for film, found in _drawn(path, FRACTURE, _fracture):
    films.setdefault(film, {})['fracture'] = found
  return films


def _scalars(row: dict[str, str], where: str) -> dict[str, float]:
  """Return the numbers of a row of scalars.csv; empty cells are not known."""
  found = {}
  for name, cell in scalars.of(row).items():
    most = scalars.SCALARS[name].most
    try:
      number = float(cell) if cell else None
    except ValueError:
      number = math.nan
    if number is not None and not 0 <= number <= most:
      raise ValueError(
        f'{where}: expected a {name} from 0 to {most:g} '
        f'{scalars.SCALARS[name].unit}, got {cell!r}.'
      )
    found |= {} if number is None else {name: number}
  return found


def within(film: Any, box: tuple[float, float, float, float]) -> Any:
  """Return annotations of a film as those of a part of it, the box.

  Args:
    film: what `load` gives of one film, or any part of that.
    box: x0, y0, x1, y1 in fractions of the film.
  """
  if isinstance(film, dict):
    return {name: within(value, box) for name, value in film.items()}
  if not isinstance(film, list):
    return film
  if film and all(isinstance(value, float | int) for value in film):
    x0, y0, x1, y1 = box
    lows, sides = (x0, y0), (x1 - x0, y1 - y0)
    return [(v - lows[i % 2]) / sides[i % 2] for i, v in enumerate(film)]
  return [within(value, box) for value in film]


def _rows(
  path: str, columns: tuple[str, ...]
) -> Iterator[tuple[str, str, dict[str, str]]]:
  """Yields (where, film id, row) of a CSV file; nothing where it is absent."""
  if not os.path.exists(path):
    return
  with open(path, 'rb') as file:
    table = tables.read(
      file.read(), path, lambda row: {'id', *columns} <= set(row)
    )
  if not {'id', *columns} <= set(table.header):
    raise ValueError(
      f'{path}: expected the columns id,{",".join(columns)}, found '
      f'{",".join(table.header)}.'
    )
  tables.check_once(table.header, ('id', *columns), path)
  for line, row in table.by_column():
    where = f'{path}, line {line}, film {row["id"]}'
    yield where, _film_id(row['id'], where), row


def _drawn(
  path: str, form: str, parse: Callable[[Any, str], Any]
) -> Iterator[tuple[str, Any]]:
  """Yields (film id, shapes) of a JSON file; nothing where it is absent.

  Args:
    path: of the file, {id: shapes}.
    form: of shapes, for messages.
    parse: what to make of shapes, and of where they stand.
  """
  if not os.path.exists(path):
    return
  try:
    with open(path, encoding='utf-8-sig') as file:
      content = json.load(file)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path}: expected JSON, cannot read it: {error}') from (
      error
    )
  if not isinstance(content, dict):
    raise ValueError(
      f'{path}: expected {{id: {form}, ...}}, got a {type(content).__name__}.'
    )
  for key, shapes in content.items():
    where = f'{path}, film {key}'
    film = _film_id(key, where)
    try:
      yield film, parse(shapes, where)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
      if where in str(error):
        raise
      raise ValueError(f'{where}: expected {form}.') from error


def _film_id(text: str, where: str) -> str:
  try:
    return ids.normalize(text)
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from error


def _fraction(value: str | float, where: str) -> float:
  try:
    number = float(value)
  except (TypeError, ValueError):
    number = math.nan
  if not -OVERSHOOT <= number <= 1 + OVERSHOOT:  # true for nan as well
    raise ValueError(
      f'{where}: coordinate {value!r} is not a fraction of the film (0 to 1); '
      'divide pixels by film width and height.'
    )
  return min(max(number, 0.0), 1.0)


def _box(row: dict[str, str], where: str) -> list[float]:
  x0, y0, x1, y1 = (_fraction(row[k], where) for k in ('x0', 'y0', 'x1', 'y1'))
  if x0 >= x1 or y0 >= y1:
    raise ValueError(
      f'{where}: box {[x0, y0, x1, y1]} is empty; expected x0 < x1 and y0 < y1.'
    )
  return [x0, y0, x1, y1]


def _line(points: list[list[float]], where: str) -> list[list[float]]:
  return [[_fraction(x, where), _fraction(y, where)] for x, y in points]


def _polygon(polygon: dict[str, Any], where: str) -> dict[str, Any]:
  return {
    'exterior': _line(polygon['exterior'], where),
    'interior': [_line(r, where) for r in polygon.get('interior', [])],
  }


def _fracture(shapes: dict[str, Any], where: str) -> dict[str, Any]:
  corners = ('x0', 'y0', 'x1', 'y1')
  return {
    'polygons': [_polygon(p, where) for p in shapes.get('polygons', [])],
    'boxes': [
      _box(dict(zip(corners, box, strict=True)), where)
      for box in shapes.get('boxes', [])
    ],
    'strokes': [_line(line, where) for line in shapes.get('strokes', [])],
  }
