"""Uncompressed 16-bit DICOM films."""

import io

import pytest


def encoded(pixels, **tags):
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
