"""Which films a run has seen in training, found again by bytes or by look."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import hashlib
import os
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np
import tqdm

from boneage_jax.core import stages
from boneage_jax.data import records
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.imaging import codec
from boneage_jax.runs import lineage

SIDE = 64  # pixels of a small film
# Root mean square of the difference of two small films, grey levels. That of a
# film and a JPEG of it, or of it at half its size, is 1 or less; of two films
# of a hand it is 5 or more.
NEAR = 2.0
CHUNK = 256  # films that are compared at a time


class Print(NamedTuple):
  """What a film is known by.

  Attributes:
    digest: SHA-256 of its file.
    small: uint8 [SIDE, SIDE].
  """

  digest: str
  small: np.ndarray


def print_of(data: bytes, image: np.ndarray) -> Print:
  """Return what a film is known by.

  Args:
    data: its file.
    image: uint8 [H, W].
  """
  size = (SIDE, SIDE)
  small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  return Print(hashlib.sha256(data).hexdigest(), small)


def of_run(
  config: Any, stage: str, workdir: str
) -> tuple[dict[str, Print], list[str]]:
  """Return the films that trained or chose the nets of a stage, by name.

  These are the training and validation films of the run and of all runs from
  which its nets, and those that find what it reads, went on.

  Returns:
    the films that can be read; and why others cannot, a sentence for each run
    whose folder or prepared data are gone.
  """
  gone: set[str] = set()
  places = {
    folder: (settings, stages.builder_configs(settings)[0])
    for part in stages.parts(stage)
    for settings, _, folder in lineage.origins(config, part, workdir, gone)
  }
  found: dict[str, Print] = {}
  for folder, (settings, size) in places.items():
    try:
      sources.prepared_folder(folder, size)
    except ValueError:
      of = '' if folder == workdir else f'of {folder} '
      gone.add(f'The prepared data {of}are not here.')
      continue
    found |= _of_data(settings, folder, size)
  return found, sorted(gone)


def _of_data(
  config: Any, workdir: str, builder_config: str
) -> dict[str, Print]:
  """Read the films of a run that are not for test."""
  folder = sources.prepared_folder(workdir, builder_config)
  films, _ = selection.split_films(config, workdir, builder_config)
  _, stored = records.of_data_set(folder)
  keep = np.isin(films['split'], splits.SPLITS) & (films['split'] != 'test')
  columns = (films[name][keep].tolist() for name in ('id', 'split'))
  where = os.path.basename(workdir)
  names = [
    f'film {film} ({split}) of {where}'
    for film, split in zip(*columns, strict=True)
  ]

  def read(position: int) -> Print:
    data = stored[position]['image']
    return print_of(data, codec.decode_stored(data))

  positions = films['position'][keep].tolist()
  prints = in_threads(read, positions, f'films of {where}')
  return dict(zip(names, prints, strict=True))


def in_threads(
  read: Callable[[Any], Any], items: Sequence[Any], title: str
) -> Iterator[Any]:
  """Yield what `read` makes of each item, with a progress bar."""
  with futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
    yield from tqdm.tqdm(
      pool.map(read, items), title, len(items), unit='film', disable=None
    )


def matches(
  new: Mapping[str, Print], seen: Mapping[str, Print]
) -> dict[str, str]:
  """Say of new films which seen film each of them is.

  Returns:
    the name of a new film -> which film it is, and how that was found; new
    films that were not seen are left out.
  """
  if not seen or not new:
    return {}
  names, found = list(seen), {}
  by_digest = {film.digest: name for name, film in seen.items()}
  known = _flat(seen.values())
  squares = (known**2).sum(1)
  for start in range(0, len(new), CHUNK):
    part = list(new.items())[start : start + CHUNK]
    flat = _flat(film for _, film in part)
    far = squares + (flat**2).sum(1)[:, None] - 2 * flat @ known.T
    nearest = far.argmin(1)
    for (name, film), k, apart in zip(part, nearest, far.min(1), strict=True):
      if film.digest in by_digest:
        found[name] = f'{by_digest[film.digest]}, equal bytes'
      elif apart <= NEAR**2 * SIDE**2:
        found[name] = f'{names[k]}, equal at {SIDE} pixels'
  return found


def _flat(films: Any) -> np.ndarray:
  """Return small films as rows, float32 [N, SIDE * SIDE], grey at 0."""
  rows = np.stack([film.small.ravel() for film in films])
  return rows.astype(np.float32) - 128
