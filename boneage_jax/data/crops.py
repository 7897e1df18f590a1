"""Crops of films, kept as one file of records.

A record holds the crops of one film, each a PNG of its own size: their number
and their lengths in bytes, little-endian uint32, then the files. Grain and
array_record are imported where records are written: see `sources`.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import itertools
import struct

import jax
import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import storage
from boneage_jax.imaging import png


def pack(crops: Sequence[np.ndarray]) -> bytes:
  """Return the record of one film's crops, each uint8 [H, W]."""
  files = [png.encode(crop) for crop in crops]
  lengths = map(len, files)
  return b''.join(
    [struct.pack(f'<{1 + len(files)}I', len(files), *lengths), *files]
  )


def unpack(record: bytes) -> list[bytes]:
  """Return the image files of a record.

  Raises:
    ValueError: it is cut off, or no such record.
  """
  numbers = np.frombuffer(record[: len(record) // 4 * 4], '<u4')
  count = int(numbers[0]) if len(numbers) else 0
  ends = 4 * (1 + count) + np.cumsum(numbers[1 : 1 + count], dtype=np.int64)
  if not count or len(ends) < count or ends[-1] != len(record):
    raise ValueError(
      f'Expected a record of crops, got {len(record)} bytes of another form; '
      'remove done.json beside them and run the stage again.'
    )
  starts = [4 * (1 + count), *ends[:-1]]
  return [record[a:b] for a, b in zip(starts, ends, strict=True)]


def write(path: str, crops: Iterable[Sequence[np.ndarray]]) -> None:
  """Write films' crops, each uint8 [H, W], in one step.

  Of several processes each gives those of its share, on one file system.
  """
  encoded = map(pack, crops)
  if jax.process_count() == 1:
    _write_records(path, encoded)
    return
  parts = [f'{path}.{index}' for index in range(jax.process_count())]

  def join() -> None:
    import grain

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
  from array_record.python import array_record_module

  with storage.staged(path) as temporary:
    with storage.writing(path):
      writer = array_record_module.ArrayRecordWriter(temporary, 'group_size:1')
    try:
      for record in records:
        with storage.writing(path):
          writer.write(record)
    finally:
      with storage.writing(path):
        writer.close()
