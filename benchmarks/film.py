"""Time of one film: resampling, boxes, and a warm prediction.

  python -m benchmarks.film
  python -m benchmarks.film --run=runs/cascade_phantom

Resampling stands beside OpenCV's two ways: an area average below a scale of
0.6 and bilinear samples (as version 0.1.0 had it), and Pillow's BILINEAR, which
has the same filter. Boxes stand beside those worked out on film pixels. With
--run, the run assesses a phantom enlarged to 2000 x 1650 px: decode, nets,
boxes and all.
"""

import argparse
import statistics
import time

import cv2
import numpy as np
from PIL import Image

from boneage_jax.imaging import boxes
from boneage_jax.imaging import codec
from boneage_jax.imaging import geometry
from boneage_jax.phantom import render

SIZES = (  # height and width of a film, side of the net's input
  ((512, 512), 128),
  ((2000, 1650), 300),
  ((2000, 1650), 512),
  ((768, 600), 320),
  ((768, 768), 560),
  ((768, 600), 512),
)
FILM = (2000, 1650)
TURN = 7.0  # degrees


def milliseconds(call, repeats: int) -> float:
  """Median time of a call that was made before."""
  call()
  times = []
  for _ in range(repeats):
    before = time.perf_counter()
    call()
    times.append(1e3 * (time.perf_counter() - before))
  return statistics.median(times)


def area_then_bilinear(image, matrix, size_hw):
  """Resample as version 0.1.0 of boneage_jax did."""
  scales = np.hypot(*matrix[:, :2])[::-1]
  small = tuple(
    round(side * scale / 0.75) if scale < 0.6 else side
    for side, scale in zip(image.shape, scales, strict=True)
  )
  if small != image.shape:
    back = geometry.fit_matrix(small, image.shape)
    image = cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)
    matrix = geometry.compose(back, matrix)
  return cv2.warpAffine(image, matrix, size_hw[::-1], flags=cv2.INTER_LINEAR)


def box_on_film(heat, matrix, size_hw, film_hw, smooth):
  """Find the box of a map on the film's pixels."""
  film = np.maximum(geometry.unwarp(heat, matrix, size_hw, film_hw), 0)
  film = cv2.GaussianBlur(film, (0, 0), smooth * min(film.shape))
  hot = (film >= 0.3 * film.max()).astype(np.uint8)
  return cv2.connectedComponentsWithStats(hot)[2]


def resampling(repeats: int) -> None:
  """Print the time of every size, as it lies and turned."""
  print('film, input | area + bilinear, ms | turned | Pillow | now | turned')
  for film_hw, side in SIZES:
    cells = [f'{ms:.1f}' for ms in resampling_ms(film_hw, side, repeats)]
    print(f'{film_hw[0]} x {film_hw[1]}, {side} |', ' | '.join(cells))


def resampling_ms(
  film_hw: tuple[int, int], side: int, repeats: int
) -> list[float]:
  """Milliseconds of one size, in every way."""
  film, size = phantom(film_hw), (side, side)
  fit = geometry.fit_matrix(film_hw, size)
  turned = geometry.compose(fit, geometry.view_matrix(size, TURN))
  picture = Image.fromarray(film)
  calls = [
    lambda: area_then_bilinear(film, fit, size),
    lambda: area_then_bilinear(film, turned, size),
    lambda: picture.resize(size, Image.Resampling.BILINEAR),
    lambda: geometry.warp(film, fit, size),
    lambda: geometry.warp(film, turned, size),
  ]
  return [milliseconds(call, repeats) for call in calls]


def regions(repeats: int) -> None:
  """Print the time of a smoothed box in both ways."""
  size, heat = (300, 300), np.zeros((8, 8), np.float32)
  heat[4:7, 3:6] = (1, 3, 2)
  fit = geometry.fit_matrix(FILM, size)
  now = lambda: boxes.box_from_map(
    geometry.over_film(heat, fit, size, FILM),
    0.3,
    'largest',
    minimum_side=0.2,
    smooth=0.1,
    film_hw=FILM,
  )
  before = lambda: box_on_film(heat, fit, size, FILM, 0.1)
  slow, fast = milliseconds(before, 3), milliseconds(now, repeats)
  print(
    f'box with smooth=0.1, {FILM[0]} x {FILM[1]}: on film pixels {slow:.0f}'
  )
  print(f'ms, now {fast:.1f} ms, ratio {slow / fast:.0f}')


def prediction(run: str, repeats: int) -> None:
  """Print the time of a film, from its file's bytes to its age."""
  from boneage_jax.inference import loading

  predictor = loading.load(run)
  data = cv2.imencode('.png', phantom(FILM))[1].tobytes()
  call = lambda: predictor.predict(codec.read(data).image, 'M')
  print(f'predict, {FILM[0]} x {FILM[1]}: {milliseconds(call, repeats):.0f} ms')


def phantom(film_hw: tuple[int, int]) -> np.ndarray:
  """Draw a phantom at any size, with the noise of a detector."""
  image = render.make_film(7, 0, {'long_side': 512})['image']
  image = cv2.resize(image, film_hw[::-1], interpolation=cv2.INTER_CUBIC)
  noise = np.random.default_rng(0).normal(0, 3, film_hw)
  return np.clip(image + noise, 0, 255).astype(np.uint8)


def main() -> None:
  """Print the tables."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--run', default='', help='folder of a cascade')
  parser.add_argument('--repeats', type=int, default=20)
  args = parser.parse_args()
  cv2.setNumThreads(0)
  resampling(args.repeats)
  regions(args.repeats)
  if args.run:
    prediction(args.run, args.repeats)


if __name__ == '__main__':
  main()
