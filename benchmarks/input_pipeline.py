"""Films per second of the input pipeline, for each kind of stored film.

python -m benchmarks.input_pipeline [--threads=2] [--films=64] [--size=256]
"""

import argparse
import time
import types
from typing import Any

import cv2
import numpy as np

from boneage_jax import examples
from boneage_jax import input_pipeline
from boneage_jax import transforms
from configs import common

STORED = {  # height, width, file
  'film 2000 x 1500 png': (2000, 1500, '.png'),
  'film 768 x 576 png': (768, 576, '.png'),
  'film 512 x 384 png': (512, 384, '.png'),
  'film 512 x 384 jpg': (512, 384, '.jpg'),
  'crops 4 x 288 x 288 png': (4 * 288, 288, '.png'),
}


class Source:
  """One synthetic film of soft shapes and noise, many times."""

  def __init__(self, name: str, count: int):
    height, width, suffix = STORED[name]
    rng = np.random.default_rng(0)
    shapes = rng.uniform(0, 255, (height // 16, width // 16))
    image = cv2.resize(shapes, (width, height), interpolation=cv2.INTER_CUBIC)
    image = image + rng.normal(0, 2, image.shape)  # grain, or PNG is too small
    image = np.clip(image, 0, 255).astype(np.uint8)
    data = cv2.imencode(suffix, image)[1].tobytes()
    kind = 'regions' if name.startswith('crops') else 'image'
    self.kilobytes = len(data) / 1000
    self._record = {kind: data, 'id': 1, 'male': 1.0, 'age': 100.0}
    self._count = count

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, index: int) -> dict[str, Any]:
    return self._record


def measure(source: Source, config: Any, threads: int) -> tuple[float, ...]:
  """Return films/s, and milliseconds of one thread to decode and in all."""
  dataset = input_pipeline.train_dataset(source, config, 16, seed=0)
  batches = input_pipeline.iterate(dataset, threads=threads)
  next(batches)
  steps = max(len(source) // 16, 1)
  start = time.perf_counter()
  for _ in range(steps):
    next(batches)
  rate = 16 * steps / (time.perf_counter() - start)
  batches.close()
  record, rng = source[0], np.random.default_rng(0)
  data = record.get('image') or record['regions']
  decoding = best(lambda: transforms.decode(data))
  return (
    rate,
    decoding,
    best(lambda: examples.make_example(record, config, rng)),
  )


def best(work: Any, repeats: int = 9) -> float:
  """Return the shortest time in milliseconds."""
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    work()
    times.append(time.perf_counter() - start)
  return 1000 * min(times)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--threads', type=int, default=2)
  parser.add_argument('--films', type=int, default=64)
  parser.add_argument('--size', type=int, default=256)
  args = parser.parse_args()
  config = types.SimpleNamespace(
    **common.image_input(
      size=args.size,
      percentiles=(1, 99),
      rotate=20,
      zoom=0.1,
      shift=0.1,
      flip=True,
      brightness=0.1,
      contrast=0.1,
      gamma=0.1,
      crop_margin=0.15,
    )
  )
  print(f'net input {args.size}, {args.threads} threads, batch 16')
  print(f'{"":24} {"KB":>6} {"films/s":>8} {"decode ms":>10} {"all ms":>7}')
  for name in STORED:
    source = Source(name, args.films)
    rate, decoding, total = measure(source, config, args.threads)
    print(
      f'{name:24} {source.kilobytes:6.0f} {rate:8.0f} {decoding:10.2f} '
      f'{total:7.2f}'
    )


if __name__ == '__main__':
  main()
