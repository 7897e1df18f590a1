"""DICOM films: ages of the header, square pixels, and what we made."""

import dicom_film
import numpy as np
import pytest

from boneage_jax.imaging import codec
from boneage_jax.imaging import dicom
from boneage_jax.imaging import limits
from boneage_jax.inference import quality

pydicom = pytest.importorskip('pydicom')


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
        'PatientAge': '009Y',
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


@pytest.mark.parametrize(
  ('born', 'age', 'months'),
  [
    ('19000101', '010Y', None),  # a birth date that stands for none
    ('20140101', '003Y', None),
    ('20140101', '010Y', 119.98),
    ('20140101', '009Y', 119.98),  # within the 18 months
    ('20140101', '', 119.98),
    ('19000101', '', 1487.97),  # nothing speaks against it but the age itself
    ('18500101', '', None),
    ('20250101', '', None),
    ('20250101', '010Y', None),
    ('', '999Y', None),
    ('', '010Y', 126),
    ('20140101', '000Y', 119.98),  # which fills the element
    ('', '000Y', 6),
  ],
)
def test_ages_that_contradict_each_other_are_not_used(born, age, months):
  tags = {'PatientBirthDate': born, 'StudyDate': '20240101', 'PatientAge': age}
  found = dicom.read(dicom_film.encoded(**tags))
  assert found['notes'] == (('age',) if months is None else ())
  assert 'age' in codec.NOTES
  assert found['chronological_age'] == (
    months if months is None else pytest.approx(months, abs=0.01)
  )


SPOT = np.zeros((40, 40), np.uint16)
SPOT[10:20, 12:24] = 1000
ROWS = {'PixelSpacing': [2, 1]}  # lie farther apart


@pytest.mark.parametrize(
  ('tags', 'size', 'note'),
  [
    ({'PixelSpacing': [0.2, 0.1]}, (80, 40), 'resampled'),
    ({'PixelSpacing': [0.1, 0.2]}, (40, 80), 'resampled'),
    ({'ImagerPixelSpacing': [0.15, 0.1]}, (60, 40), 'resampled'),
    ({'NominalScannedPixelSpacing': [0.2, 0.1]}, (80, 40), 'resampled'),
    ({'PixelAspectRatio': [2, 1]}, (80, 40), 'resampled'),
    ({'PixelAspectRatio': [1, 2]}, (40, 80), 'resampled'),
    ({'PixelAspectRatio': [2, 1], **ROWS}, (80, 40), 'resampled'),
    ({'PixelSpacing': [0.1, 0.1005]}, (40, 40), None),
    ({'PixelAspectRatio': [1, 1]}, (40, 40), None),
    ({'PixelAspectRatio': [1, 1], **ROWS}, (40, 40), 'aspect'),
    ({'ImagerPixelSpacing': [1, 1], **ROWS}, (40, 40), 'aspect'),
    ({'PixelSpacing': [100, 1]}, (40, 40), 'aspect'),
    ({'PixelAspectRatio': [0, 1]}, (40, 40), 'spacing'),
  ],
  ids=str,
)
def test_a_film_gets_square_pixels(tags, size, note):
  found = dicom.read(dicom_film.encoded(SPOT, **tags))
  assert found['image'].shape == size
  assert found['notes'] == ((note,) if note else ())
  assert note is None or note in codec.NOTES
  assert ('aspect' in quality.OF_FILE) and 'resampled' not in quality.OF_FILE
  # What lies at some fraction of a side, lies there as before.
  rows, columns = np.nonzero(found['image'] > 127)
  box = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
  sides = np.repeat(size, 2)
  np.testing.assert_allclose(
    box / sides, np.array([10, 20, 12, 24]) / 40, atol=0.0126
  )
  if note == 'resampled' and 'PixelAspectRatio' not in tags:
    height, width = found['pixel_spacing']
    assert height == width == min(next(iter(tags.values())))


def test_a_film_that_square_pixels_make_too_large_is_refused():
  few = limits.Admission(limits.Limits(megapixels=0.002))
  data = dicom_film.encoded(SPOT, PixelSpacing=[2, 1])
  with pytest.raises(limits.TooLargeError, match='40 x 80'):
    dicom.read(data, few)


def test_what_we_make_is_no_film():
  data = dicom_film.encoded(ManufacturerModelName='boneage_jax')
  with pytest.raises(ValueError, match='made by this program'):
    codec.read(data)
  assert dicom.is_own(data[:4096])
  assert not dicom.is_own(dicom_film.encoded(ManufacturerModelName='CR 85'))
