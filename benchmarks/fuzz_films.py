"""Changed bytes of films: nothing may crash, hang, grow or end in a traceback.

  python -m benchmarks.fuzz_films --kind=image --minutes=10

Films of every form that is read, at most 4 MiB, are changed at random places
(bytes, cuts, blocks of zeros, parts of other films, sizes in headers) and read
as `predict` reads them; of the kind `archive` zips and tables, as the builder
reads them. The line that is printed, and appended to the CSV file
of --out, says how many were read and refused, and the worst of time and memory.
Exit 1 says that a bound was broken; the film lies in --keep then.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import csv
import hashlib
import io
import os
import pathlib
import sys
import time
from typing import Any

import cv2
import numpy as np

from benchmarks import fuzz_archives
from boneage_jax.imaging import codec
from boneage_jax.imaging import codec_pool

KINDS = ('image', 'dicom', 'archive')
SECONDS = 10  # of the processor
MEMORY = 1 << 30  # bytes over idle
MOST = 4 << 20  # bytes of a film
COLUMNS = (
  'kind', 'seed', 'films', 'read', 'refused', 'workers_ended', 'broken',
  'worst_seconds', 'worst_megabytes',
)  # fmt: skip


def image_seeds() -> list[bytes]:
  """Return sound films that are no DICOM."""
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (90, 70), np.uint8)
  grey = cv2.GaussianBlur(noise, (0, 0), 2)
  deep = grey.astype(np.uint16) * 231 + noise
  colour = np.stack([grey, grey[::-1], 255 - grey], -1)
  forms = [('.png', ()), ('.jpg', ()), ('.bmp', ())]
  forms += [('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])]
  forms += [('.jpg', [cv2.IMWRITE_JPEG_RST_INTERVAL, 3])]
  forms += [('.tif', [cv2.IMWRITE_TIFF_COMPRESSION, n]) for n in (1, 5, 8)]
  forms += [('.tif', [cv2.IMWRITE_TIFF_COMPRESSION, 32773])]
  found = []
  for suffix, options in forms:
    for image in (grey, deep, colour):
      if image is not deep or suffix in ('.png', '.tif'):
        found.append(cv2.imencode(suffix, image, options)[1].tobytes())
  return found


def dicom_seeds() -> list[bytes]:
  """Return pydicom's samples, and what it makes of one of them."""
  import pydicom
  import pydicom.data

  folder = pathlib.Path(pydicom.data.__file__).parent / 'test_files'
  found = [p.read_bytes() for p in sorted(folder.glob('*.dcm'))]
  dataset = pydicom.dcmread(folder / 'CT_small.dcm')
  dataset.file_meta.TransferSyntaxUID = (
    pydicom.uid.DeflatedExplicitVRLittleEndian
  )
  out = io.BytesIO()
  dataset.save_as(out, enforce_file_format=True)
  return [*found, out.getvalue(), found[0][132:]]


def changed(rng: np.random.Generator, seeds: list[bytes]) -> bytes:
  """Return a film with one to four changes."""
  data = bytearray(seeds[rng.integers(len(seeds))])
  for _ in range(rng.integers(1, 5)):
    how, size = rng.integers(6), int(rng.integers(1, 65))
    at = int(rng.integers(max(len(data), 1)))
    if rng.random() < 0.4:  # headers, mostly
      at = min(int(rng.integers(400)), len(data))
    if how == 0:
      data[at : at + 1] = rng.bytes(1)
    elif how == 1:
      data[at : at + size] = rng.bytes(size)
    elif how == 2:
      data[at : at + 8 * size] = bytes(8 * size)
    elif how == 3:
      del data[at : at + size * size]
    elif how == 4:
      word = rng.choice([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
      order = 'little' if rng.random() < 0.5 else 'big'
      width = 4 if word > 0xFFFF or rng.random() < 0.3 else 2
      data[at : at + width] = int(word).to_bytes(width, order)
    else:
      other = seeds[rng.integers(len(seeds))]
      start = int(rng.integers(len(other)))
      data[at:at] = other[start : start + size * size]
  return bytes(data[:MOST])


def fuzz(
  kind: str, seconds: float, seed: int, keep: str | os.PathLike
) -> dict[str, object]:
  """Read changed films for some time; return the row of the table."""
  make = {
    'image': (image_seeds, codec.read),
    'dicom': (dicom_seeds, codec.read),
    'archive': (fuzz_archives.seeds, fuzz_archives.read),
  }
  seeds, read = make[kind][0](), make[kind][1]
  count = dict.fromkeys(COLUMNS, 0) | {'kind': kind, 'seed': seed}
  for data in seeds:  # idle is with all that is imported
    _outcome(data, read)
  idle = _memory()
  worst_time = worst_memory = 0.0
  for data in _films(seeds, seconds, seed):
    start = time.process_time()
    outcome = _outcome(data, read)
    took = time.process_time() - start
    grown = max(_memory() - idle, 0)
    worst_time, worst_memory = max(worst_time, took), max(worst_memory, grown)
    count['films'] += 1
    if outcome in ('read', 'refused', 'workers_ended'):
      count[outcome] += 1
    if outcome == 'workers_ended':
      count['refused'] += 1
    if outcome == 'broken' or took > SECONDS or grown > MEMORY:
      count['broken'] += 1
      path = pathlib.Path(keep)
      path.mkdir(parents=True, exist_ok=True)
      (path / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
  count['worst_seconds'] = round(worst_time, 2)
  count['worst_megabytes'] = round(worst_memory / 1e6)
  return count


def _films(seeds: list[bytes], seconds: float, seed: int) -> Iterator[bytes]:
  rng = np.random.default_rng(seed)
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    yield changed(rng, seeds)


def _outcome(data: bytes, read: Callable[[bytes], Any]) -> str:
  """Read a film, and say what became of it."""
  try:
    read(data)
  except ValueError as error:
    text = str(error)
    if '\n' in text or not text:
      return 'broken'
    ended = codec_pool.ENDED in text or 'Decoding ' in text
    return 'workers_ended' if ended else 'refused'
  except Exception:  # what would be a traceback
    return 'broken'
  return 'read'


def _memory() -> int:
  """Return the most bytes that this process has held."""
  import resource

  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
  """Fuzz, and write the row."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--kind', choices=KINDS, required=True)
  parser.add_argument('--minutes', type=float, default=1)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--keep', default='fuzz_broken')
  parser.add_argument('--out', help='CSV file that gets a row')
  args = parser.parse_args()
  row = fuzz(args.kind, 60 * args.minutes, args.seed, args.keep)
  print(', '.join(f'{name} {value}' for name, value in row.items()))
  if args.out:
    new = not os.path.exists(args.out)
    with open(args.out, 'a', newline='', encoding='utf-8') as f:
      writer = csv.DictWriter(f, COLUMNS, lineterminator='\n')
      if new:
        writer.writeheader()
      writer.writerow(row)
  sys.exit(1 if row['broken'] else 0)


if __name__ == '__main__':
  main()
