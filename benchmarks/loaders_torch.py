"""PyTorch's loader on our records: by OpenCV, or as it is usually done.

Without JAX: worker processes import this module.
"""

from collections.abc import Callable
from collections.abc import Mapping
import io
import math
from typing import Any

import cv2
import numpy as np
from PIL import Image
import torch
from torch.utils import data as torch_data

try:
  from torchvision.transforms import v2
except RuntimeError:  # operators of another torch: transforms need none
  LIBRARY = torch.library.Library('torchvision', 'FRAGMENT')
  LIBRARY.define('nms(Tensor a, Tensor b, float c) -> Tensor')
  LIBRARY.define('qnms(Tensor a, Tensor b, float c) -> Tensor')
  from torchvision.transforms import v2


def files(record: Mapping[str, Any]) -> list[bytes]:
  """Return the image files of a record: one film, or its crops."""
  return record.get('regions') or [record['image']]


class OpenCv(torch_data.Dataset):
  """The work of preprocess.make_example, written down plainly."""

  def __init__(self, records: list[dict[str, Any]], settings: Mapping):
    self.records = records
    self.size = settings['size']
    self.rotate = settings['rotate']
    self.brightness = settings['brightness']
    self.contrast = settings['contrast']
    margin = settings['crop_margin']
    self.whole = self.size * (1 + 2 * margin)  # pixels for all of a square

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    record = self.records[index]
    films = [
      cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
      for data in files(record)
    ]
    rng = np.random.default_rng()
    bright, steep = rng.uniform(-1, 1, 2) * (self.brightness, self.contrast)
    greys = (np.arange(256) / 255 - 0.5) * (1 + steep) + 0.5
    greys = np.rint(255 * np.clip(greys * (1 + bright), 0, 1))
    images = np.stack([self._warp(film, rng) for film in films])
    rows = cv2.LUT(images.reshape(-1, self.size), greys.astype(np.uint8))
    return {
      'image': torch.from_numpy(rows.reshape(images.shape)),
      'sex': np.float32(record['sex']),
      'age': np.float32(record['age']),
    }

  def _warp(self, film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shrink by area where a bilinear sample would skip pixels, turn once."""
    sides = np.array(film.shape[::-1])
    small = np.where(self.whole < 0.6 * sides, round(self.whole), sides)
    if (small != sides).any():
      film = cv2.resize(film, small.tolist(), interpolation=cv2.INTER_AREA)
    angle = math.radians(rng.uniform(-self.rotate, self.rotate))
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) * (self.whole / small)
    shift = (self.size - 1) / 2 - linear @ ((small - 1) / 2)
    matrix = np.column_stack([linear, shift])
    return cv2.warpAffine(film, matrix, (self.size, self.size))


class Usual(torch_data.Dataset):
  """Pillow decodes, torchvision's transforms follow one by one."""

  def __init__(self, records: list[dict[str, Any]], settings: Mapping):
    self.records = records
    self.inner = 1 / (1 + 2 * settings['crop_margin'])
    size = (settings['size'], settings['size'])
    self.turn = v2.RandomRotation(
      settings['rotate'], interpolation=v2.InterpolationMode.BILINEAR
    )
    self.tone = v2.Compose(
      [
        v2.Resize(size),
        v2.ColorJitter(settings['brightness'], settings['contrast']),
        v2.PILToTensor(),
      ]
    )

  def __len__(self) -> int:
    return len(self.records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    record = self.records[index]
    films = [Image.open(io.BytesIO(f)).convert('L') for f in files(record)]
    turned = [self.turn(film) for film in films]
    if 'image' in record:
      image = self.tone(turned[0])
    else:
      cut = v2.CenterCrop(round(films[0].width * self.inner))
      image = torch.stack([self.tone(cut(film)) for film in turned])
    return {
      'image': image,
      'sex': np.float32(record['sex']),
      'age': np.float32(record['age']),
    }


DATASETS = {'OpenCV': OpenCv, 'PIL, torchvision': Usual}


def loader(
  kind: str,
  records: list[dict[str, Any]],
  settings: Mapping,
  batch: int,
  steps: int,
  workers: int,
) -> Callable[[], None]:
  """Return what reads `steps` batches; the workers stay between calls."""
  dataset = DATASETS[kind](records, settings)
  batches = torch_data.DataLoader(
    dataset,
    batch,
    sampler=torch_data.RandomSampler(dataset, num_samples=batch * steps),
    num_workers=workers,
    worker_init_fn=start_worker,
    # fork would copy the threads of a parent that has imported jax
    multiprocessing_context='spawn' if workers else None,
    persistent_workers=workers > 0,
  )

  def read() -> None:
    for _ in batches:
      pass

  return read


def start_worker(number: int) -> None:
  """One thread to a worker: films are the parallel unit."""
  del number
  cv2.setNumThreads(0)
  torch.set_num_threads(1)
