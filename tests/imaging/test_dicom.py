"""DICOM films against pixels computed by hand."""

import dicom_film
import numpy as np
import pytest

from boneage_jax.imaging import dicom

pydicom = pytest.importorskip('pydicom')

RAMP = np.arange(48 * 32, dtype=np.uint16).reshape(48, 32)


def film(pixels=RAMP, **tags):
  return dicom_film.encoded(pixels, **tags)


def stretched(values):
  values = values.astype(np.float64)
  low, high = values.min(), values.max()
  return np.rint((values - low) / (high - low) * 255).astype(np.uint8)


def test_the_range_that_occurs_becomes_8_bit():
  image = dicom.read(film(RAMP + 700))['image']
  assert image.dtype == np.uint8
  np.testing.assert_array_equal(image, stretched(RAMP))


@pytest.mark.parametrize(
  ('photometric', 'shape', 'inverted'),
  [
    ('MONOCHROME2', 'IDENTITY', False),
    ('MONOCHROME1', 'IDENTITY', True),
    ('MONOCHROME2', 'INVERSE', True),
    ('MONOCHROME1', 'INVERSE', True),  # once, not twice
  ],
)
def test_low_values_are_dark_in_the_end(photometric, shape, inverted):
  data = film(PhotometricInterpretation=photometric, PresentationLUTShape=shape)
  image = dicom.read(data)['image']
  assert image[0, 0] == (255 if inverted else 0)
  assert image[-1, -1] == (0 if inverted else 255)


def test_window_cuts_off_both_ends():
  image = dicom.read(film(WindowCenter=500, WindowWidth=200))['image']
  window = np.clip(RAMP, 400, 600)
  assert np.abs(image.astype(int) - stretched(window)).max() <= 2
  assert image[RAMP < 395].max() == 0
  assert image[RAMP > 605].min() == 255


def test_modality_rescale_comes_before_the_window():
  data = film(
    RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=400
  )
  image = dicom.read(data)['image']
  assert image[RAMP < 395].max() == 0
  assert image[RAMP > 605].min() == 255


@pytest.mark.parametrize('photometric', ['MONOCHROME1', 'MONOCHROME2'])
def test_padding_is_black_and_outside_of_the_range(photometric):
  pixels = RAMP + 100
  pixels[:8] = 60000
  data = film(
    pixels, PhotometricInterpretation=photometric, PixelPaddingValue=60000
  )
  image = dicom.read(data)['image']
  assert image[:8].max() == 0
  field = stretched(pixels[8:])
  expected = 255 - field if photometric == 'MONOCHROME1' else field
  assert np.abs(image[8:].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
  ('written', 'sex'),
  [('M', 'M'), ('F', 'F'), *((x, 'unknown') for x in ('O', '', None))],
)
def test_sex_is_never_guessed(written, sex):
  tags = {} if written is None else {'PatientSex': written}
  assert dicom.read(film(**tags))['sex'] == sex


def test_header_fields(tmp_path):
  path = tmp_path / 'film.dcm'
  path.write_bytes(
    film(
      PatientAge='010Y',
      Laterality='L',
      BodyPartExamined='HAND',
      BurnedInAnnotation='NO',
      ImagerPixelSpacing=[0.1, 0.2],
    )
  )
  out = dicom.read(path)
  assert out['patient_age'] == '010Y'
  assert out['laterality'] == 'L'
  assert out['body_part'] == 'HAND'
  assert out['burned_in'] is False
  assert out['pixel_spacing'] == [0.1, 0.2]
  assert dicom.read(film())['burned_in'] is None


@pytest.mark.parametrize(
  ('data', 'says'),
  [
    (b'\x89PNG no dicom at all', 'expected a DICOM file'),
    (film()[:-100], 'the pixels cannot be decoded.*pip install python-gdcm'),
    (film(np.zeros((8, 8), np.uint16)), 'every pixel has the same value'),
    (film(np.tile(RAMP, (2, 1)), Rows=48, NumberOfFrames=2), 'found 2 frames'),
  ],
)
def test_what_is_no_film_says_so(data, says):
  with pytest.raises(ValueError, match=says):
    dicom.read(data)


def test_colour_becomes_luminance():
  colour = np.zeros((2, 3, 3), np.uint8)
  colour[0] = np.diag([255, 255, 255])  # red, green, blue
  data = film(
    np.zeros((2, 3), np.uint16),
    SamplesPerPixel=3,
    PlanarConfiguration=0,
    PhotometricInterpretation='RGB',
    BitsAllocated=8,
    BitsStored=8,
    HighBit=7,
    PixelData=colour.tobytes(),
  )
  np.testing.assert_array_equal(
    dicom.read(data)['image'], [[76, 150, 29], [0, 0, 0]]
  )
