"""DICOM films against pixels computed by hand."""

import dicom_film
import numpy as np
import pytest

from boneage_jax.imaging import dicom

pydicom = pytest.importorskip('pydicom')


def test_without_a_window_percentiles_become_8_bit():
  image = dicom.read(dicom_film.encoded(dicom_film.RAMP + 700))['image']
  assert image.dtype == np.uint8
  np.testing.assert_array_equal(image, dicom_film.stretched(dicom_film.RAMP))
  few = dicom_film.RAMP.copy()
  few[0, :7] = 60000  # fewer than one of 200
  assert (
    np.corrcoef(dicom_film.read(few)[1:].ravel(), dicom_film.RAMP[1:].ravel())[
      0, 1
    ]
    > 0.999
  )


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
  data = dicom_film.encoded(
    PhotometricInterpretation=photometric, PresentationLUTShape=shape
  )
  image = dicom.read(data)['image']
  assert image[0, 0] == (255 if inverted else 0)
  assert image[-1, -1] == (0 if inverted else 255)


def test_window_cuts_off_both_ends():
  image = dicom.read(dicom_film.encoded(WindowCenter=500, WindowWidth=200))[
    'image'
  ]
  np.testing.assert_array_equal(
    image, dicom_film.stretched(dicom_film.RAMP, 400, 599)
  )
  assert image[dicom_film.RAMP < 395].max() == 0
  assert image[dicom_film.RAMP > 605].min() == 255


def test_modality_rescale_comes_before_the_window():
  data = dicom_film.encoded(
    RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=400
  )
  image = dicom.read(data)['image']
  assert image[dicom_film.RAMP < 395].max() == 0
  assert image[dicom_film.RAMP > 605].min() == 255


@pytest.mark.parametrize('photometric', ['MONOCHROME1', 'MONOCHROME2'])
def test_padding_is_black_and_outside_of_the_range(photometric):
  pixels = dicom_film.RAMP + 100
  pixels[:8] = 60000
  image = dicom_film.read(
    pixels, PhotometricInterpretation=photometric, PixelPaddingValue=60000
  )
  assert image[:8].max() == 0
  field = dicom_film.stretched(pixels[8:])
  expected = 255 - field if photometric == 'MONOCHROME1' else field
  np.testing.assert_array_equal(image[8:], expected)


@pytest.mark.parametrize(
  ('written', 'sex'),
  [('M', 'M'), ('F', 'F'), *((x, 'unknown') for x in ('O', '', None))],
)
def test_sex_is_never_guessed(written, sex):
  tags = {} if written is None else {'PatientSex': written}
  assert dicom.read(dicom_film.encoded(**tags))['sex'] == sex


def test_header_fields(tmp_path):
  path = tmp_path / 'film.dcm'
  path.write_bytes(
    dicom_film.encoded(
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
  assert dicom.read(dicom_film.encoded())['burned_in'] is None


@pytest.mark.parametrize(
  ('data', 'says'),
  [
    (b'\x89PNG no dicom at all', 'expected a DICOM file'),
    (
      dicom_film.encoded()[:-100],
      'the pixels cannot be decoded.*pip install python-gdcm',
    ),
    (
      dicom_film.encoded(np.zeros((8, 8), np.uint16)),
      'every pixel has the same value',
    ),
    (
      dicom_film.encoded(
        np.tile(dicom_film.RAMP, (2, 1)), Rows=48, NumberOfFrames=2
      ),
      'found 2 frames',
    ),
  ],
)
def test_what_is_no_film_says_so(data, says):
  with pytest.raises(ValueError, match=says):
    dicom.read(data)


def test_colour_becomes_luminance():
  colour = np.zeros((2, 3, 3), np.uint8)
  colour[0] = np.diag([255, 255, 255])  # red, green, blue
  data = dicom_film.encoded(
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


@pytest.mark.parametrize('keyword', ['RescaleSlope', 'RescaleIntercept'])
@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_a_rescale_without_numbers_is_refused_by_name(keyword, value):
  tags = {'RescaleSlope': 1, 'RescaleIntercept': 0, keyword: float(value)}
  with pytest.raises(ValueError, match=f'expected a number as {keyword}'):
    dicom_film.read(**tags)


def test_a_rescale_of_nothing():
  with pytest.raises(ValueError, match='RescaleSlope other than 0'):
    dicom_film.read(RescaleSlope=0, RescaleIntercept=0)
  image = dicom_film.read(RescaleSlope=None, RescaleIntercept=None)
  np.testing.assert_array_equal(image, dicom_film.stretched(dicom_film.RAMP))
  with pytest.raises(ValueError, match=r'no numbers|same value'):
    dicom_film.read(RescaleSlope=1e308, RescaleIntercept=0)


@pytest.mark.parametrize(
  ('tags', 'months'),
  [
    ({'PatientBirthDate': '20100115', 'StudyDate': '20200115'}, 120.0),
    # The day of the film counts before that of the study.
    (
      {
        'PatientBirthDate': '20100115',
        'StudyDate': '20250115',
        'AcquisitionDate': '20200115',
        'PatientAge': '099Y',
      },
      120.0,
    ),
    ({'PatientAge': '010Y'}, 126.0),  # ten whole years, and half of one
    ({'PatientAge': '018M', 'StudyDate': '20200115'}, 18.5),
    ({'PatientAge': '002W'}, 17.5 / 30.4375),
    ({'PatientBirthDate': '20210101', 'StudyDate': '20200115'}, None),
    ({'PatientBirthDate': '', 'StudyDate': '20200115'}, None),
    ({}, None),
  ],
)
def test_the_chronological_age_of_the_header(tags, months):
  found = dicom.read(dicom_film.encoded(**tags))['chronological_age']
  assert found == (
    months if months is None else pytest.approx(months, abs=0.02)
  )
