"""Films with two planted rectangles, and a net whose map is the film."""

from encode import encode
from ml_collections import ConfigDict
import numpy as np

SIZE = 32
INPUT = ConfigDict(
  dict(size=SIZE, resize='squash', percentiles=(), polarity='keep')
)
OPTIONS = ConfigDict(
  dict(
    regions=('carpal', 'metacarpal'),
    threshold=(0.5, 0.5),
    component='peak',
    margin=0.0,
    minimum_side=(0.1, 0.1),
    smooth=0.0,
    fill='black',
    crop_size=20,
    crop_margin=0.1,
    batch_size=3,
  )
)
LARGE, SMALL = (0.2, 0.5, 0.5, 0.8), (0.6, 0.1, 0.8, 0.4)  # boxes


def paint(image, box, grey):
  height, width = image.shape
  x0, y0, x1, y1 = box
  rows = slice(round(y0 * height), round(y1 * height))
  image[rows, round(x0 * width) : round(x1 * width)] = grey


def film(index):
  """A bright and a less bright rectangle, moved a little per film."""
  image = np.full((120 + 4 * index, 100), 10, np.uint8)
  move = 0.01 * (index % 5)
  paint(image, [v + move for v in LARGE], 250)
  paint(image, [v + move for v in SMALL], 180)
  return image


class Source:
  """Seven films, as `sources.film_source` gives them."""

  def __init__(self, images, annotations=''):
    self.images = images
    self.annotations = annotations

  def __len__(self):
    return len(self.images)

  def __getitem__(self, index):
    return {
      'image': encode(self.images[index]),
      'id': str(100 + index),
      'row': index,
      'age': 50.0,
      'sex': 2.0 * (index % 2) - 1,
      'annotations': self.annotations,
    }


def brightness(images, inputs):
  """Take the film itself, half as large, as the map."""
  assert images.dtype == np.uint8 and inputs['sex'].dtype == np.float32
  pixels = images[..., 0].reshape(len(images), SIZE // 2, 2, SIZE // 2, 2)
  return np.maximum(pixels.mean((2, 4)) - 20, 0)
