"""Turns outlines and points into annotations/ of an archive.

  python -m tfds_rsna.import_annotations FILE... --out=ARCHIVE/annotations
  python -m tfds_rsna.import_annotations hands.json --out=archive/annotations

FILE is JSON of COCO, LabelMe (a file for each film) or VIA.
"""

import argparse
import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import math
import os
import pathlib

from boneage_jax.core import door
from boneage_jax.core import ids
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.imaging import annotations
from boneage_jax.imaging import codec
from boneage_jax.imaging import limits
from boneage_jax.imaging import outlines

POLYGONS, POINTS = 'hand_polygons.json', 'hand_keypoints.csv'
LEAST_AREA = 1e-4  # of an outline, share of its film

Ring = list[list[float]]  # x, y in fractions of the film
Sizes = Mapping[str, tuple[int, int]]


def polygons_of(
  drawn: Iterable[outlines.Drawn], sizes: Sizes, label: str = ''
) -> dict[str, Ring]:
  """Returns the outline of each film's hand, in fractions.

  Args:
    drawn: what the files say.
    sizes: height and width in pixels of films of which these do not say it.
    label: of the outlines to take; '' takes all, which then have one label.

  Raises:
    ValueError: outlines of several labels, two of one film, or one that leaves
      its film or encloses nothing.
  """
  rings = [
    (film, name, ring)
    for film in drawn
    for name, ring in film.rings
    if label in ('', name)
  ]
  names = collections.Counter(name for _, name, _ in rings)
  if len(names) > 1:
    counts = ', '.join(
      f'{door.shown(name) or "none"} ({n})' for name, n in names.items()
    )
    raise ValueError(
      f'Expected outlines of one label, got {counts}: choose that of the hand '
      'with --label.'
    )
  found: dict[str, Ring] = {}
  for one, _, ring in rings:
    film, size = one.film, one.size_hw or sizes[one.film]
    if film in found:
      raise ValueError(
        f'Expected one outline of film {film}, got two: remove the second hand '
        'or the stray clicks, and draw one hand as one outline.'
      )
    found[film] = [_fractions(xy, film, size, 'its outline') for xy in ring]
    if _area(found[film]) < LEAST_AREA:
      raise ValueError(
        f'Expected an outline about the hand of film {film}, got one of '
        f'{len(ring)} points that encloses next to nothing: draw it anew.'
      )
  return found


def points_of(
  drawn: Iterable[outlines.Drawn], sizes: Sizes, names: Mapping[str, str]
) -> dict[str, dict[str, list[float]]]:
  """Returns x and y of the points of each film by name, in fractions.

  Args:
    drawn, sizes: as of `polygons_of`.
    names: of points in the files -> of annotations.POINTS; others are ours.

  Raises:
    ValueError: an unknown name, a point twice, or one beyond its film.
  """
  found: dict[str, dict[str, list[float]]] = {}
  for film in drawn:
    for told, xy in film.points:
      name = names.get(told, told)
      if name not in annotations.POINTS:
        raise ValueError(
          f'Expected a point among {", ".join(annotations.POINTS)}, got '
          f'{told!r} on film {film.film}: say which it is with '
          f'--point={told}=NAME.'
        )
      points = found.setdefault(film.film, {})
      if name in points:
        raise ValueError(
          f'Expected one point {name} of film {film.film}, got two: remove one.'
        )
      size = film.size_hw or sizes[film.film]
      points[name] = _fractions(xy, film.film, size, f'its point {name}')
  return found


def sizes_of(drawn: Iterable[outlines.Drawn], films: str = '') -> Sizes:
  """Returns height and width of films whose files do not keep their size.

  Args:
    drawn: what the files say.
    films: folder of the films, for programs that keep no sizes.

  Raises:
    ValueError: a size is kept nowhere.
  """
  sizes, paths = {}, {}
  for path in sorted(pathlib.Path(films).iterdir()) if films else ():
    if path.is_file() and path.stem and not path.name.startswith('.'):
      paths[outlines.film_id(path.name)] = path
  for film in drawn:
    if film.size_hw:
      continue
    if film.film in paths:
      read = codec.read(limits.read_file(paths[film.film]))
      if 'resampled' in read.notes:  # drawn on the stored pixels, or on others
        raise ValueError(
          f'Expected the size of the picture of film {film.film} on which was '
          f'drawn, but pixels of {paths[film.film]} are not square: give '
          '--films=DIR with the pictures on which was drawn.'
        )
      sizes[film.film] = read.image.shape
    elif film.rings or film.points:
      raise ValueError(
        f'Expected the size of film {film.film}, which its file does not keep '
        f'and {films or "no folder"} does not show: give the folder of the '
        'films with --films=DIR.'
      )
  return sizes


def write(
  out: str,
  polygons: Mapping[str, Ring],
  points: Mapping[str, Mapping[str, Sequence[float]]],
  replace: bool = False,
) -> None:
  """Adds outlines and points to the files of a folder, which it makes.

  Raises:
    ValueError: a film is there already, without `replace`.
  """
  before = annotations.load(out)
  had = lambda name: {k: v[name] for k, v in before.items() if name in v}
  old_polygons, old_points = had('polygons'), had('keypoints')
  twice = polygons.keys() & old_polygons.keys()
  twice |= points.keys() & old_points.keys()
  if twice and not replace:
    some = ', '.join(sorted(twice, key=ids.sort_key)[:5])
    raise ValueError(
      f'Expected films that {out} does not have yet, got {len(twice)} that it '
      f'has, such as {some}: replace these with --replace.'
    )
  storage.make_folder(out)
  if polygons:
    new = {
      film: [{'exterior': ring, 'interior': []}]
      for film, ring in polygons.items()
    }
    storage.write_json(os.path.join(out, POLYGONS), old_polygons | new)
  if points:
    table = {
      film: dict(zip(annotations.POINTS, marked, strict=True))
      for film, marked in old_points.items()
    } | dict(points)
    rows = [
      (film, name, x, y)
      for film in sorted(table, key=ids.sort_key)
      for name, (x, y) in table[film].items()
      if not math.isnan(x)  # nobody marked it
    ]
    with storage.replacing(os.path.join(out, POINTS)) as file:
      writer = tables.Writer(file)
      writer.writerows([('id', 'point', 'x', 'y'), *rows])


def _fractions(
  xy: tuple[float, float], film: str, size_hw: tuple[int, int], what: str
) -> list[float]:
  """Returns pixels as fractions; hand-drawn ones may just leave the film."""
  height, width = size_hw
  place = [xy[0] / width, xy[1] / height]
  over = annotations.OVERSHOOT
  if not all(-over <= value <= 1 + over for value in place):
    raise ValueError(
      f'Expected film {film} ({width} x {height} pixels) to hold {what}, got '
      f'a place at ({xy[0]:g}, {xy[1]:g}): was it drawn on another film, or on '
      'another size of it?'
    )
  return [round(min(max(value, 0.0), 1.0), 6) for value in place]


def _area(ring: Ring) -> float:
  """Returns the share of the film that a ring encloses (shoelace)."""
  twice = sum(
    x0 * y1 - x1 * y0
    for (x0, y0), (x1, y1) in itertools.pairwise([*ring, *ring[:1]])
  )
  return abs(twice) / 2


def main(argv: Sequence[str] | None = None) -> None:
  """Runs the command."""
  parser = argparse.ArgumentParser(
    prog='python -m tfds_rsna.import_annotations',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('files', nargs='+', help='JSON of COCO, LabelMe or VIA')
  parser.add_argument('--out', required=True, help='folder annotations/')
  parser.add_argument('--films', default='', help='folder of the films')
  parser.add_argument('--label', default='', help="the hand's, of outlines")
  parser.add_argument(
    '--point', action='append', default=[], metavar='THEIRS=OURS',
    help='our name of a point that has another one',
  )  # fmt: skip
  parser.add_argument(
    '--replace', action='store_true', help='what is already there'
  )
  chosen = parser.parse_args(argv)
  with door.one_line_errors():
    door.say(run(chosen))


def run(chosen: argparse.Namespace) -> str:
  """Reads, turns and writes; returns what was done."""
  drawn = []
  for path in chosen.files:
    drawn += outlines.read(pathlib.Path(path).read_text('utf-8-sig'), path)
  sizes = sizes_of(drawn, chosen.films)
  names = dict(pair.rpartition('=')[::2] for pair in chosen.point)
  polygons = polygons_of(drawn, sizes, chosen.label)
  points = points_of(drawn, sizes, names)
  if not polygons and not points:
    raise ValueError(
      f'Expected outlines or points in {", ".join(chosen.files[:3])}, got none'
      + (f' with the label {chosen.label!r}.' if chosen.label else '.')
    )
  write(chosen.out, polygons, points, chosen.replace)
  others = collections.Counter(kind for film in drawn for kind in film.others)
  left = ', '.join(f'{n} {kind}' for kind, n in others.items())
  done = (
    f'{chosen.out}: outlines of {len(polygons)} films and points of '
    f'{len(points)} films.'
  )
  return f'{done} Other shapes are left out: {left}.' if left else done


if __name__ == '__main__':
  main()
