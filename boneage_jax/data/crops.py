"""Crops of films, kept as one file of records."""

from collections.abc import Iterable
import contextlib
import itertools

from array_record.python import array_record_module
import grain
import jax
import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import storage
from boneage_jax.imaging import png


def write(path: str, crops: Iterable[np.ndarray]) -> None:
  """Write films' crops, each uint8 [R, S, S], in one step.

  Of several processes each gives those of its share, on one file system.
  """
  stacked = (regions.reshape(-1, regions.shape[-1]) for regions in crops)
  encoded = map(png.encode, stacked)
  if jax.process_count() == 1:
    _write_records(path, encoded)
    return
  parts = [f'{path}.{index}' for index in range(jax.process_count())]

  def join() -> None:
    sources = (
      grain.sources.ArrayRecordDataSource([storage.local(part)])
      for part in parts
    )
    _write_records(path, itertools.chain.from_iterable(sources))
    for part in parts:
      storage.remove(part)

  mine = parts[jax.process_index()]
  distributed.run_everywhere(lambda: _write_records(mine, encoded))
  distributed.on_main_process(join)


def _write_records(path: str, records: Iterable[bytes]) -> None:
  with storage.staged(path) as temporary:
    writer = array_record_module.ArrayRecordWriter(temporary, 'group_size:1')
    with contextlib.closing(writer):
      for record in records:
        writer.write(record)
