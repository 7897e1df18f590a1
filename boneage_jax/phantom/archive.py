"""Phantoms in the layout of the RSNA archive."""

from collections.abc import Sequence
from concurrent import futures
import inspect
import json
import multiprocessing
import os
import shutil
import threading
import zipfile

import cv2
import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.imaging import annotations
from boneage_jax.imaging import png
from boneage_jax.phantom import faults
from boneage_jax.phantom import render

NAME = 'boneage-training-dataset'
FAULTS = 'faults.csv'
DATE = (1980, 1, 1, 0, 0, 0)  # one archive, one hash


def _setup() -> None:
  cv2.setNumThreads(0)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  multiprocessing.parent_process().join()
  os._exit(1)  # or a killed parent's workers would wait for work for ever


def _film(task: tuple[int, int, dict, tuple[str, ...]]) -> dict:
  *made, kinds = task
  film = render.make_film(*made)
  if kinds:
    film['fault'] = kinds[(film['id'] - 1) % len(kinds)]
    wrist = film['keypoints'][annotations.POINTS.index('wrist')][1]
    hand = faults.Hand(film['hand_box'], wrist)
    film['image'] = faults.plant(film['fault'], film['image'], film['id'], hand)
  film['png'] = png.encode(film.pop('image'))
  return film


def _films(
  films: int,
  seed: int,
  options: dict,
  kinds: tuple[str, ...],
  workers: int | None,
):
  tasks = [(index, seed, options, kinds) for index in range(films)]
  workers = min(workers or os.cpu_count() or 1, films)
  if workers == 1:
    yield from map(_film, tasks)
    return
  # fork would copy the threads of a parent that has imported jax
  context = multiprocessing.get_context('spawn')
  # an executor, not a Pool: a worker that cannot start raises, never hangs
  with futures.ProcessPoolExecutor(workers, context, _setup) as pool:
    yield from pool.map(_film, tasks, chunksize=4)


def write_archive(
  out: str,
  films: int,
  seed: int,
  *,
  long_side: int = 2000,
  label_noise_sd: float = 0.0,
  inverted: float = 0.0,
  fractures: float = 0.0,
  views: int = 1,
  visits: int = 1,
  turn: float = 0.0,
  shift: float = 0.0,
  chronological_sd: float = 0.0,
  kinds: Sequence[str] = (),
  workers: int | None = None,
  progress: bool = False,
) -> None:
  """Write an archive of phantoms to the folder `out`.

  Args:
    out: folder to make; an archive that is already there is replaced.
    films: number of films.
    seed: the same seed gives the same bytes, whatever `workers` is.
    long_side: pixels of the longer side of a film.
    label_noise_sd: sd in months of the error added to the labels.
    inverted: share of films shown as MONOCHROME1.
    fractures: share of hands with a broken bone. With it, or with more than
      one film of a hand, fracture_labels.csv and fracture_masks.json are
      written too.
    views: films of each hand at one visit.
    visits: of each hand, 3 to 12 months apart.
    turn, shift: most that hands are turned, degrees, and moved, share of the
      sides; either way.
    chronological_sd: of how far bone ages are ahead of ages, months. With it,
      scalars.csv is written too, and films.csv has the chronological age.
    kinds: faults to plant, one a film, in turn, see `faults`. With them,
      faults.csv is written too (id, fault), and annotations are those of the
      film before.
    workers: processes, by default one per core; with more than one the
      caller's script needs the usual `if __name__ == '__main__'`.
    progress: show a progress bar.
  """
  if films < 1 or long_side < 64 or min(views, visits) < 1:
    raise ValueError(
      'Expected at least 1 film of at least 64 pixels in at least 1 view and 1 '
      f'visit, got {films} of {long_side} in {views} and {visits}: raise '
      'films, long_side, views or visits'
    )
  for kind in kinds:
    faults.check(kind)
  out = os.path.abspath(out)
  work = f'{out}.{os.getpid()}.tmp'
  shutil.rmtree(work, ignore_errors=True)
  os.makedirs(os.path.join(work, 'annotations'))
  options = {
    'long_side': long_side,
    'label_noise_sd': label_noise_sd,
    'inverted': inverted,
    'fractures': fractures,
    'views': views,
    'visits': visits,
    'turn': turn,
    'shift': shift,
    'chronological_sd': chronological_sd,
  }
  try:
    made = _films(films, seed, options, tuple(kinds), workers)
    made = _bar(made, films) if progress else made
    _write(work, made, fractures > 0 or views > 1 or visits > 1)
    with open(os.path.join(work, 'phantom.json'), 'w') as file:
      planted = {'faults': list(kinds)} if kinds else {}
      # As archives say it that are older than these options.
      usual = {'visits': 1, 'chronological_sd': 0.0}
      for name in [name for name in usual if options[name] == usual[name]]:
        del options[name]
      json.dump({'films': films, 'seed': seed, **options, **planted}, file)
    _replace(work, out)
  finally:
    shutil.rmtree(work, ignore_errors=True)


def _write(folder, made, with_findings):
  labels, boxes, points, regions, polygons = [], [], [], [], {}
  findings, breaks, planted, listed, ages = [], {}, [], [], []
  path = os.path.join(folder, f'{NAME}.zip')
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
    for film in made:
      number = film['id']
      entry = zipfile.ZipInfo(f'{NAME}/{number}.png', DATE)
      archive.writestr(entry, film['png'])
      labels.append((number, film['age'], film['male']))
      sex, hand = 'M' if film['male'] else 'F', f'hand{film["study"]}'
      row = (f'{NAME}.zip/{entry.filename}', sex, film['age'], hand)
      if 'chronological_age' in film:
        ages.append((number, f'{film["chronological_age"]:.2f}'))
        row += ages[-1][1:]
      listed.append(row)
      boxes.append((number, *_text(film['hand_box'])))
      points += [
        (number, point, *_text(xy))
        for point, xy in zip(annotations.POINTS, film['keypoints'], strict=True)
      ]
      regions += [
        (number, 'train', label, *_text(box)) for label, box in film['boxes']
      ]
      exterior = np.round(film['polygon'], 5).tolist()
      polygons[str(number)] = [{'exterior': exterior, 'interior': []}]
      findings.append((number, film['study'], film['finding']))
      if 'fault' in film:
        planted.append((number, film['fault']))
      if film['fracture']:
        breaks[str(number)] = film['fracture']
  corners = ('x0', 'y0', 'x1', 'y1')
  side = os.path.join(folder, 'annotations')
  _table(folder, f'{NAME}.csv', ('id', 'boneage', 'male'), labels)
  known = ('chronological_age',) if ages else ()
  header = ('file', 'sex', 'age_true', 'group', *known)
  _table(folder, stages.FILMS, header, listed)
  _table(side, 'hand_boxes.csv', ('id', *corners), boxes)
  _table(side, 'hand_keypoints.csv', ('id', 'point', 'x', 'y'), points)
  _table(
    side, 'ossification_boxes.csv', ('id', 'rater', 'label', *corners), regions
  )
  with open(os.path.join(side, 'hand_polygons.json'), 'w') as file:
    json.dump(polygons, file)
  if ages:
    _table(side, annotations.SCALARS, ('id', *known), ages)
  if planted:
    _table(folder, FAULTS, ('id', 'fault'), planted)
  if with_findings:
    _table(side, 'fracture_labels.csv', ('id', 'study', 'finding'), findings)
    with open(os.path.join(side, 'fracture_masks.json'), 'w') as file:
      json.dump(breaks, file)


def _text(values):
  return [f'{value:.5f}' for value in values]


def _table(folder, name, header, rows):
  with open(os.path.join(folder, name), 'w', newline='') as file:
    writer = tables.Writer(file)
    writer.writerow(header)
    writer.writerows(rows)


def check_drawn(out: str, **options: float) -> None:
  """Check that a folder has the phantoms of these options of `write_archive`.

  Raises:
    ValueError: it has others; names the options and the remedy.
  """
  path = os.path.join(out, 'phantom.json')
  known = storage.read_json(path, {})
  usual = inspect.signature(write_archive).parameters
  other = [
    name
    for name, value in options.items()
    if known.get(name, usual[name].default) != value
  ]
  if other:
    raise ValueError(
      f'Expected the phantoms of the config in {out}, got some of other '
      f'{", ".join(f"phantom.{name}" for name in other)}: remove that folder '
      'to draw them anew, or set these back.'
    )


def _replace(work, out):
  if not os.path.isdir(out) or not os.listdir(out):
    os.replace(work, out)  # one step: all of it or nothing
    return
  names = [
    f'{NAME}.zip',
    f'{NAME}.csv',
    stages.FILMS,
    'annotations',
    'phantom.json',
  ]
  if os.path.exists(os.path.join(work, FAULTS)):
    names.append(FAULTS)
  elif os.path.exists(os.path.join(out, FAULTS)):
    os.remove(os.path.join(out, FAULTS))  # of the archive before
  for name in names:
    new, old = os.path.join(work, name), os.path.join(out, name)
    if os.path.isdir(old):
      shutil.rmtree(old)
    os.replace(new, old)


def _bar(items, total):
  try:
    import tqdm
  except ImportError:
    return items
  return tqdm.tqdm(items, total=total, unit='film', disable=None)
