"""Uncompressed 16-bit DICOM films."""

import io

import numpy as np
import pytest

from boneage_jax.imaging import dicom

RAMP = np.arange(48 * 32, dtype=np.uint16).reshape(48, 32)


def encoded(pixels=RAMP, **tags):
  """The bytes of a film; `tags` are its data elements, on top of the usual."""
  pydicom = pytest.importorskip('pydicom')
  meta = pydicom.dataset.FileMetaDataset()
  meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
  meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.1.1'
  meta.MediaStorageSOPInstanceUID = '1.2.3'
  dataset = pydicom.Dataset()
  dataset.file_meta = meta
  dataset.Rows, dataset.Columns = pixels.shape
  dataset.SamplesPerPixel = 1
  dataset.PhotometricInterpretation = 'MONOCHROME2'
  dataset.BitsAllocated = dataset.BitsStored = 16
  dataset.HighBit, dataset.PixelRepresentation = 15, 0
  dataset.PixelData = pixels.astype('<u2').tobytes()
  for tag, value in tags.items():
    setattr(dataset, tag, value)
  out = io.BytesIO()
  dataset.save_as(out, enforce_file_format=True)
  return out.getvalue()


def stretched(values, low=None, high=None):
  """In 256 equal parts, by default from percentile 0.5 to 99.5."""
  values = values.astype(np.float64)
  ordered = np.sort(values.ravel())
  if low is None:
    places = np.arange(values.size) / (values.size - 1)
    low, high = np.interp((0.005, 0.995), places, ordered)
  parts = np.floor((values - low) / (high - low) * 256)
  return np.clip(parts, 0, 255).astype(np.uint8)


def read(*args, **tags):
  """The picture of a film; arguments as of `encoded`."""
  return dicom.read(encoded(*args, **tags))['image']
