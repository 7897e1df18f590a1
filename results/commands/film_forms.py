"""Print how far the form of a file moves the age of a film.

  python results/commands/film_forms.py RUN STAGE

50 phantoms of 512 px, of another seed than those of the run, are written in
every form and assessed by a stage of RUN. The age of the 8-bit PNG is the
measure.
"""

import collections
import io
import sys

import cv2
import numpy as np
import pydicom

from boneage_jax.imaging import codec
from boneage_jax.inference import loading
from boneage_jax.phantom import render

FILMS, SEED = 50, 1


def dicom(pixels: np.ndarray, bits: int, **tags: object) -> bytes:
  """Write an uncompressed DICOM film of `bits` stored bits."""
  kind = '<u1' if bits == 8 else '<u2'
  data = pydicom.Dataset()
  data.file_meta = pydicom.dataset.FileMetaDataset()
  data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
  data.file_meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.1.1'
  data.file_meta.MediaStorageSOPInstanceUID = '1.2.3'
  data.Rows, data.Columns = pixels.shape
  data.SamplesPerPixel, data.PixelRepresentation = 1, 0
  data.PhotometricInterpretation = 'MONOCHROME2'
  data.BitsAllocated = 8 * np.dtype(kind).itemsize
  data.BitsStored, data.HighBit = bits, bits - 1
  data.PixelData = pixels.astype(kind).tobytes()
  for name, value in tags.items():
    setattr(data, name, value)
  out = io.BytesIO()
  data.save_as(out, enforce_file_format=True)
  return out.getvalue()


def encode(ending: str, pixels: np.ndarray, *options: int) -> bytes:
  """Write a PNG or JPEG."""
  return cv2.imencode(ending, pixels, options)[1].tobytes()


def forms(film: np.ndarray, noise: np.ndarray):
  """Yield the name and the bytes of every form of a film."""
  grey = film.astype(np.int64)
  yield '8-bit PNG', encode('.png', film)
  for times in (256, 257):
    deep = (grey * times).astype(np.uint16)
    yield f'16-bit PNG, greys x {times}', encode('.png', deep)
  yield 'JPEG, quality 95', encode('.jpg', film, cv2.IMWRITE_JPEG_QUALITY, 95)
  for bits in (8, 12, 16):
    most = 2**bits - 1
    deep = np.rint(grey * (most / 255)).astype(np.int64)
    whole = dict(WindowCenter=2 ** (bits - 1), WindowWidth=2**bits)
    inverse = dict(PhotometricInterpretation='MONOCHROME1')
    yield f'{bits}-bit DICOM', dicom(deep, bits)
    yield f'{bits}-bit DICOM, window', dicom(deep, bits, **whole)
    yield f'{bits}-bit DICOM, MONOCHROME1', dicom(most - deep, bits, **inverse)
  # More than 8 bits: what a detector of 12 bits would have seen.
  fine = np.clip(grey * 16 + noise, 0, 4095).astype(np.int64)
  yield '12-bit DICOM, noise in the last 4 bits', dicom(fine, 12)
  yield (
    '12-bit DICOM, noise in the last 4 bits, window',
    dicom(fine, 12, WindowCenter=2048, WindowWidth=4096),
  )


def main() -> None:
  """Print mean and largest change of the age, months, by form."""
  predictor = loading.load(sys.argv[1], sys.argv[2])
  changes = collections.defaultdict(list)
  for number in range(FILMS):
    film = render.make_film(number, SEED, {'long_side': 512})['image']
    noise = np.random.default_rng(number).integers(0, 16, film.shape)
    for name, data in forms(film, noise):
      age = predictor.predict(codec.read(data).image, 'M').age_predicted
      if name == '8-bit PNG':
        measure = age
      changes[name].append(abs(age - measure))
  for name, values in changes.items():
    print(f'{name}: mean {np.mean(values):.2f}, largest {np.max(values):.2f}')


if __name__ == '__main__':
  main()
