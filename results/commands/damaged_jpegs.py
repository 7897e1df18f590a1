"""Print how many damaged JPEG files are refused, by coding and damage."""

import collections

import cv2
import numpy as np

from boneage_jax.imaging import codec
from boneage_jax.phantom import render

FILMS, SIDE, SEED = 60, 800, 5
QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 95)


def codings(film: np.ndarray) -> dict[str, bytes]:
  """Return a film in every coding."""
  encode = lambda picture, *options: cv2.imencode(
    '.jpg', picture, (*QUALITY, *options)
  )[1].tobytes()
  return {
    'baseline': encode(film),
    'optimized': encode(film, cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    'colour': encode(cv2.cvtColor(film, cv2.COLOR_GRAY2BGR)),
    'progressive': encode(film, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
  }


def damaged(data: bytes, rng: np.random.Generator):
  """Yield the name of a damage and the damaged file."""
  size = len(data)
  draw = lambda: int(rng.integers(size // 4, 3 * size // 4 - 4096))
  yield 'cut', data[: draw()] + b'\xff\xd9'
  at = draw()
  yield '4 kB of zeros', data[:at] + bytes(4096) + data[at + 4096 :]
  for count in (64, 8):
    at = draw()
    yield f'{count} bytes', data[:at] + rng.bytes(count) + data[at + count :]
  at = draw()
  other = bytes([data[at] ^ int(rng.integers(1, 256))])
  yield '1 byte', data[:at] + other + data[at + 1 :]


def main() -> None:
  """Print the table."""
  rng, refused = np.random.default_rng(0), collections.Counter()
  for number in range(FILMS):
    film = render.make_film(number, SEED, {'long_side': SIDE})['image']
    for coding, data in codings(film).items():
      for damage, changed in damaged(data, rng):
        try:
          codec.read(changed)
        except ValueError:
          refused[damage, coding] += 1
        else:
          refused[damage, coding] += 0
  for (damage, coding), count in sorted(refused.items()):
    print(f'{damage}, {coding}: {count} of {FILMS} refused')


if __name__ == '__main__':
  main()
