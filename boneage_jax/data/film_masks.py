"""Masks that a net or a reader made of films, kept as one file of records.

A record is a PNG of 8 bits, 255 times the probability that a pixel is inside,
over the net's input. masks.csv says which film each record is of.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import sizes
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import crops
from boneage_jax.data import records
from boneage_jax.imaging import codec
from boneage_jax.imaging import components
from boneage_jax.imaging import geometry

TABLE = 'masks.csv'
GEOMETRY = 'masks.json'
ACCEPTED = 'accepted'  # status in masks.csv of a net's mask that is trained on


class FilmMask(NamedTuple):
  """A mask over the input of a net.

  Attributes:
    data: PNG, uint8 [h, w], 255 times the probability.
    size_hw: height and width of the net's input.
    resize: how a film came there, see geometry.fit_matrix.
  """

  data: bytes
  size_hw: tuple[int, int]
  resize: str

  def on_film(self, film_hw: tuple[int, int]) -> np.ndarray:
    """Return the hand on its film, uint8 [H, W], 255 inside.

    The probability is warped, and cut at one half on the film: an edge of one
    bit would have the steps of the net's pixels.
    """
    probability = codec.decode_stored(self.data) / np.float32(255)
    matrix = geometry.fit_matrix(film_hw, self.size_hw, self.resize)
    return components.on_film(probability, matrix, self.size_hw, film_hw)


def write(
  folder: str,
  rows: Sequence[Mapping[str, Any]],
  masks: Sequence[np.ndarray],
  input_config: Any,
) -> None:
  """Write masks and what is known of them; all processes give the same.

  Args:
    folder: of a stage or a round.
    rows: of masks.csv, `id` and more; those with `stored` have a record.
    masks: uint8 [h, w] of these, in their order.
    input_config: of the net: size and resize.
  """
  path = lambda name: os.path.join(folder, name)
  one_each = ([mask] for mask in distributed.shard(masks))
  crops.write(path(stages.MASKS), one_each)

  def say() -> None:
    shape = {'size': input_config.size, 'resize': input_config.resize}
    storage.write_json(path(GEOMETRY), shape)
    with storage.replacing(path(TABLE)) as file:  # last: the masks are there
      tables.write_dicts(file, rows)

  distributed.on_main_process(say)


def there(folder: str) -> bool:
  """Whether masks were written to a folder."""
  return storage.exists(os.path.join(folder, TABLE))


def read_table(folder: str) -> list[dict[str, str]]:
  """Read masks.csv.

  Raises:
    ValueError: the stage has not run.
  """
  path = os.path.join(folder, TABLE)
  if not there(folder):
    raise ValueError(
      f'{path} is missing: run the stage that finds masks first.'
    )
  with storage.reading(path) as file:
    return tables.read_dicts(file, path, ('id', 'status', 'stored'))


def stored(rows: Iterable[Mapping[str, Any]]) -> list[str]:
  """Ids of the films that have a record, in the order of the records."""
  return [row['id'] for row in rows if str(row['stored']) == '1']


def read_corrected(folder: str, input_config: Any) -> dict[str, np.ndarray]:
  """Read the folder of corrected masks, `<id>.png`, over the net's input.

  Raises:
    ValueError: a file that is no mask; names it.
  """
  size = sizes.size_hw(input_config.size)
  if not folder:
    return {}
  found = {}
  for path in storage.glob(folder, '*.png'):
    with storage.reading(path, 'rb') as file:
      data = np.frombuffer(file.read(), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if mask is None or not (mask > 127).any():
      raise ValueError(
        f'Expected a mask in {path}, white on black and of the size of its '
        f'film, got {"no PNG" if mask is None else "one without white"}: draw '
        'it again, or remove the file.'
      )
    matrix = geometry.fit_matrix(mask.shape, size, input_config.resize)
    mask = np.where(mask > 127, 255, 0).astype(np.uint8)
    film = os.path.splitext(os.path.basename(path))[0]
    found[film] = geometry.warp(mask, matrix, size)
  if not found:
    raise ValueError(
      f'Expected corrected masks <id>.png in {folder}, found none: change '
      '--config.STAGE.corrected.'
    )
  return found


class FilmMasks(Mapping):
  """The masks of a folder by film id, read one by one."""

  def __init__(
    self,
    folder: str,
    keep: Callable[[Mapping[str, str]], bool] = lambda row: True,
  ):
    """Open the file; see `write`. `keep` tells by the row of masks.csv."""
    shape = storage.read_json(
      os.path.join(folder, GEOMETRY), keys=('size', 'resize')
    )
    self._size = sizes.size_hw(shape['size'])
    self._resize = shape['resize']
    rows = read_table(folder)
    ids = stored(rows)
    kept = {row['id'] for row in rows if keep(row)}
    self._where = {
      film: position for position, film in enumerate(ids) if film in kept
    }
    path = os.path.join(folder, stages.MASKS)
    self._records = records.of_stage(path)
    if len(self._records) != len(ids):
      raise ValueError(
        f'Expected {len(ids)} masks in {path}, got {len(self._records)}: '
        'remove that folder and run the stage again.'
      )

  def __getitem__(self, film: str) -> FilmMask:
    (data,) = crops.unpack(self._records[self._where[film]])
    return FilmMask(data, self._size, self._resize)

  def __iter__(self):
    return iter(self._where)

  def __len__(self) -> int:
    return len(self._where)
