"""Outlines and points as drawing programs save them: COCO, LabelMe and VIA.

All three write JSON with pixels of the film, from its upper left corner.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import json
import re
from typing import Any
from typing import NamedTuple

from boneage_jax.core import ids

Ring = list[tuple[float, float]]


class Drawn(NamedTuple):
  """What a file says of one film.

  Attributes:
    film: its id.
    size_hw: height and width in pixels; None where the program keeps none.
    rings: (label, ring) of each polygon, x and y in pixels.
    points: (name, (x, y)) of each point, in pixels.
    others: kinds of shapes that are neither, such as 'rectangle'.
  """

  film: str
  size_hw: tuple[int, int] | None
  rings: list[tuple[str, Ring]]
  points: list[tuple[str, tuple[float, float]]]
  others: list[str]


def read(text: str, where: str) -> list[Drawn]:
  """Read a file of any of the three programs.

  Args:
    text: its content.
    where: its name, for messages.

  Returns:
    one Drawn for each film.

  Raises:
    ValueError: no JSON, of another program, or a part of it is missing.
  """
  try:
    found = json.loads(text)
  except json.JSONDecodeError as error:
    raise ValueError(
      f'Expected JSON of COCO, LabelMe or VIA in {where}, got none ({error}): '
      'export the annotations as JSON.'
    ) from error
  keys = set(found) if isinstance(found, dict) else set()
  try:
    if {'images', 'annotations'} <= keys:
      return list(_coco(found, where))
    if {'imagePath', 'shapes'} <= keys:
      return [_labelme(found)]
    films = found.get('_via_img_metadata', found) if keys else {}
    of_via = lambda film: isinstance(film, dict) and 'regions' in film
    if films and all(map(of_via, films.values())):
      return [_via(film) for film in films.values()]
  except (KeyError, TypeError, IndexError, AttributeError) as error:
    raise ValueError(
      f'{where} is not whole: {type(error).__name__} {error}. Export it anew.'
    ) from error
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from error
  raise ValueError(
    f'Expected JSON of COCO, LabelMe or VIA in {where}, got one with '
    f'{", ".join(sorted(keys)[:5]) or "no fields"}.'
  )


def film_id(name: str) -> str:
  """Return the id of a film from the name of its file, with folders or not."""
  return ids.normalize(re.split(r'[\\/]', name)[-1])


def _coco(found: Mapping[str, Any], where: str) -> Iterator[Drawn]:
  kinds = {kind['id']: kind for kind in found.get('categories', [])}
  films = {}
  for image in found['images']:
    size = int(image['height']), int(image['width'])
    films[image['id']] = Drawn(film_id(image['file_name']), size, [], [], [])
  for one in found['annotations']:
    film = films[one['image_id']]
    kind = kinds.get(one.get('category_id'), {})
    parts, marks = one.get('segmentation') or [], one.get('keypoints') or []
    if isinstance(parts, dict):
      raise ValueError(
        f'Expected polygons, got a run-length mask of film {film.film}: export '
        'polygons.'
      )
    label = str(kind.get('name', ''))
    film.rings.extend((label, _pairs(flat)) for flat in parts)
    names = kind.get('keypoints', [])
    for k, name in enumerate(names if marks else ()):
      x, y, visible = marks[3 * k : 3 * k + 3]
      if visible:  # 0: nobody marked it
        film.points.append((name, (float(x), float(y))))
    if not parts and not marks:
      film.others.append('box')
  yield from films.values()


def _pairs(flat: list[float]) -> Ring:
  numbers = [float(value) for value in flat]
  return list(zip(numbers[::2], numbers[1::2], strict=True))


def _labelme(found: Mapping[str, Any]) -> Drawn:
  height, width = found.get('imageHeight'), found.get('imageWidth')
  size = (int(height), int(width)) if height and width else None
  film = Drawn(film_id(found['imagePath']), size, [], [], [])
  for shape in found['shapes']:
    kind = shape.get('shape_type', 'polygon')
    ring = [(float(x), float(y)) for x, y in shape['points']]
    if kind == 'polygon':
      film.rings.append((shape['label'], ring))
    elif kind == 'point':
      film.points.append((shape['label'], ring[0]))
    else:
      film.others.append(kind)
  return film


def _via(found: Mapping[str, Any]) -> Drawn:
  film = Drawn(film_id(found['filename']), None, [], [], [])
  regions = found['regions']  # a dict in the first version of the program
  for region in regions.values() if isinstance(regions, dict) else regions:
    shape = region['shape_attributes']
    said = region.get('region_attributes', {}).values()
    texts = [text for text in said if isinstance(text, str) and text]
    label = texts[0].strip() if texts else ''
    if shape['name'] == 'polygon':
      xs, ys = (map(float, shape[f'all_points_{axis}']) for axis in 'xy')
      film.rings.append((label, list(zip(xs, ys, strict=True))))
    elif shape['name'] == 'point':
      film.points.append((label, (float(shape['cx']), float(shape['cy']))))
    else:
      film.others.append(shape['name'])
  return film
