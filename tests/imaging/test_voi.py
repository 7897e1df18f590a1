"""Windows and lookup tables of DICOM films, against pydicom and by hand."""

import io

import dicom_film
import numpy as np
import pytest

from boneage_jax.imaging import dicom

pydicom = pytest.importorskip('pydicom')


@pytest.mark.parametrize('bits', [8, 12, 16])
@pytest.mark.parametrize('inverted', [False, True])
def test_the_whole_window_gives_the_same_greys_at_every_depth(bits, inverted):
  grey = (dicom_film.RAMP % 231).astype(np.uint16)
  most = (1 << bits) - 1
  for deep in (grey << bits - 8, np.rint(grey * (most / 255))):
    pixels = most - deep if inverted else deep
    tags = {'BitsStored': bits, 'HighBit': bits - 1}
    tags['PhotometricInterpretation'] = f'MONOCHROME{2 - inverted}'
    whole = {'WindowCenter': 1 << bits - 1, 'WindowWidth': 1 << bits}
    for window in (whole, {}):
      image = dicom_film.read(pixels, **tags, **window)
      np.testing.assert_array_equal(image, grey)


@pytest.mark.parametrize('shape', ['LINEAR', 'LINEAR_EXACT', 'SIGMOID'])
@pytest.mark.parametrize('slope', [1, -2, 0.5])
def test_windows_as_pydicom_applies_them(shape, slope):
  tags = {
    'RescaleSlope': slope,
    'RescaleIntercept': 10,
    'WindowCenter': [700 * slope, 1],
    'WindowWidth': [1200, 2],
    'VOILUTFunction': shape,
  }
  dataset = pydicom.dcmread(io.BytesIO(dicom_film.encoded(**tags)))
  values = pydicom.pixels.apply_modality_lut(dicom_film.RAMP, dataset)
  lut = pydicom.pixels.apply_voi_lut(values, dataset)
  ends = pydicom.pixels.apply_voi_lut(np.array([-1e5, 1e5]), dataset)
  assert (
    np.abs(
      dicom_film.read(**tags) - 255 * (lut - ends[0]) / (ends[1] - ends[0])
    ).max()
    < 1
  )


def lut(values, first=0, bits=16):
  item = pydicom.Dataset()
  item.LUTDescriptor = [len(values), first, bits]
  item.LUTData = np.asarray(values, '<u2').tobytes()
  item['LUTData'].VR = 'OW'
  return [item]


def test_lookup_tables():
  table = np.sqrt(np.arange(1536) / 1535) * 1023
  image = dicom_film.read(VOILUTSequence=lut(table, bits=10))
  assert np.abs(image - table[dicom_film.RAMP] / 1023 * 255).max() <= 1.01
  image = dicom_film.read(ModalityLUTSequence=lut(table * 40))
  expected = dicom_film.stretched(table.astype('u2')[dicom_film.RAMP])
  assert np.abs(image.astype(int) - expected).max() <= 4  # 40 times as fine
  damaged = dicom_film.encoded(ModalityLUTSequence=[pydicom.Dataset()])
  found = dicom.read(damaged)
  assert found['notes'] == ('rescale',)
  np.testing.assert_array_equal(
    found['image'], dicom_film.stretched(dicom_film.RAMP)
  )


def lut_of_fewer():
  """A table that has fewer entries than it says."""
  (item,) = lut(np.arange(900))
  item.LUTDescriptor = [1536, 0, 16]
  return [item]


NAN = float('nan')


@pytest.mark.parametrize(
  'tags',
  [
    {'WindowCenter': 40, 'WindowWidth': 80},  # of another kind of picture
    {'WindowCenter': 700, 'WindowWidth': 2},
    {'WindowCenter': 9000, 'WindowWidth': 400},
    {'WindowCenter': -9000, 'WindowWidth': 400},
    {'WindowCenter': 32768, 'WindowWidth': 65536},  # leaves 6 greys
    {'WindowCenter': 700, 'WindowWidth': 0},
    {'WindowCenter': 700, 'WindowWidth': -500},
    {'WindowCenter': 700, 'WindowWidth': NAN},
    {'WindowCenter': NAN, 'WindowWidth': 500},
    {'WindowCenter': 700},
    {'WindowWidth': 500},
    {'WindowCenter': 700, 'WindowWidth': 900, 'VOILUTFunction': 'CUBIC'},
    {'VOILUTSequence': [pydicom.Dataset()]},
    {'VOILUTSequence': lut_of_fewer()},
  ],
  ids=str,
)
def test_windows_that_make_no_sense_are_named_and_not_used(tags):
  found = dicom.read(dicom_film.encoded(**tags))
  assert found['notes'] == ('window',)
  np.testing.assert_array_equal(
    found['image'], dicom_film.stretched(dicom_film.RAMP)
  )


def test_the_first_window_that_fits_is_used():
  tags = {'WindowCenter': [9000, 700], 'WindowWidth': [400, 1000]}
  found = dicom.read(dicom_film.encoded(**tags))
  assert not found['notes']
  np.testing.assert_array_equal(
    found['image'], dicom_film.stretched(dicom_film.RAMP, 200, 1199)
  )
