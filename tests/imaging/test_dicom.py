"""DICOM films against pixels computed by hand."""

import io

import dicom_film
import numpy as np
import pytest

from boneage_jax.imaging import codec
from boneage_jax.imaging import dicom
from boneage_jax.imaging import limits
from boneage_jax.inference import quality

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
  assert out['pixel_spacing'] == [0.1, 0.1]  # of the film with square pixels
  assert dicom.read(dicom_film.encoded())['burned_in'] is None


@pytest.mark.parametrize(
  ('data', 'says'),
  [
    (b'\x89PNG no dicom at all', 'expected a DICOM file'),
    (
      dicom_film.encoded()[:-100],
      'expected 3072 bytes of PixelData, found 2972: the file is cut off',
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
@pytest.mark.parametrize('value', ['nan', 'inf', '-inf', '', '1,5', '1\\2'])
def test_a_rescale_without_numbers_is_flagged_and_not_used(keyword, value):
  tags = {'RescaleSlope': 3, 'RescaleIntercept': 7, keyword: '9'}
  tag = {'RescaleSlope': b'\x53\x10', 'RescaleIntercept': b'\x52\x10'}[keyword]
  data = dicom_film.encoded(**tags)
  written = value.encode().ljust(len(value) + len(value) % 2)
  size = len(written).to_bytes(2, 'little')
  old = b'\x28\0' + tag + b'DS\x02\x009 '
  assert data.count(old) == 1
  found = dicom.read(data.replace(old, old[:6] + size + written))
  assert found['notes'] == ('rescale',)
  np.testing.assert_array_equal(
    found['image'], dicom_film.stretched(dicom_film.RAMP)
  )


@pytest.mark.parametrize('slope', [0, 1e308])
def test_a_rescale_of_nothing_is_flagged_and_not_used(slope):
  found = dicom.read(dicom_film.encoded(RescaleSlope=slope, RescaleIntercept=0))
  assert found['notes'] == ('rescale',)
  np.testing.assert_array_equal(
    found['image'], dicom_film.stretched(dicom_film.RAMP)
  )


@pytest.mark.parametrize(
  'tags',
  [
    {'PresentationIntentType': 'FOR PROCESSING'},
    {'SOPClassUID': '1.2.840.10008.5.1.4.1.1.1.1.1'},
  ],
)
def test_values_of_the_detector_are_flagged(tags):
  assert dicom.read(dicom_film.encoded(**tags))['notes'] == ('for_processing',)
  assert 'for_processing' in quality.OF_FILE
  shown = {'PresentationIntentType': 'FOR PRESENTATION'}
  assert not dicom.read(dicom_film.encoded(**shown))['notes']


@pytest.mark.parametrize(
  ('tags', 'note'),
  [
    ({'PixelPaddingRangeLimit': None, 'PixelPaddingValue': 9999}, 'padding'),
    ({'PixelPaddingValue': None}, 'padding'),
    ({'PixelSpacing': [0.1]}, 'spacing'),
    ({'ImagerPixelSpacing': None}, 'spacing'),
    ({'VOILUTFunction': None}, 'void_window'),
    ({'WindowCenter': None, 'WindowWidth': None}, 'void_window'),
    ({'NumberOfFrames': None}, 'frames'),
    ({'NumberOfFrames': 0}, 'frames'),
    ({'PatientSex': None, 'BodyPartExamined': None}, None),
  ],
  ids=str,
)
def test_void_elements_count_as_absent(tags, note):
  found = dicom.read(dicom_film.encoded(**tags))
  assert found['notes'] == ((note,) if note else ())
  assert note is None or note in codec.NOTES
  assert found['pixel_spacing'] is None
  np.testing.assert_array_equal(
    found['image'], dicom_film.stretched(dicom_film.RAMP)
  )


@pytest.mark.parametrize(
  ('keyword', 'written'),
  [
    ('WindowWidth', b'DS\x04\x001,5 '),  # a decimal comma
    ('WindowCenter', b'UN\0\0\x04\0\0\0abcd'),
    ('PixelSpacing', b'SQ\0\0\x04\0\0\0abcd'),  # of the wrong kind
    ('PatientSex', b'US\x04\x001234'),
    ('PatientAge', b'XX\x04\x001234'),  # a kind that there is not
    ('StudyDate', b'OB\0\0\x04\0\0\0abcd'),
  ],
)
def test_no_optional_element_stops_a_film(keyword, written):
  tags = {'WindowCenter': 700, 'WindowWidth': 900, 'PixelSpacing': [1, 1]}
  tags |= {'PatientSex': 'M', 'PatientAge': '010Y', 'StudyDate': '20200101'}
  data = dicom_film.encoded(**tags)
  tag = pydicom.tag.Tag(keyword)
  start = tag.group.to_bytes(2, 'little') + tag.elem.to_bytes(2, 'little')
  at = data.index(start, 132) + 4
  old = int.from_bytes(data[at + 2 : at + 4], 'little')
  changed = data[:at] + written + data[at + 4 + old :]
  image = dicom.read(changed)['image']
  assert image.shape == dicom_film.RAMP.shape


@pytest.mark.parametrize('form', ['no preamble', 'no header', 'implicit'])
def test_files_without_preamble_or_header(form):
  data = dicom_film.encoded(PatientSex='F', PatientAge='010Y')
  if form == 'no preamble':
    data = data[132:]
  else:
    dataset = pydicom.dcmread(io.BytesIO(data))
    body = pydicom.filebase.DicomBytesIO()
    body.is_little_endian, body.is_implicit_VR = True, form == 'implicit'
    pydicom.filewriter.write_dataset(body, dataset)
    data = body.getvalue()
  assert data[128:132] != b'DICM'
  film = codec.read(data)
  assert film.header['sex'] == 'F'
  np.testing.assert_array_equal(
    film.image, dicom_film.stretched(dicom_film.RAMP)
  )


def test_several_pages_are_counted():
  pages = np.tile(dicom_film.RAMP, (3, 1)).astype('<u2').tobytes()
  with pytest.raises(ValueError, match='found 3 pages in PixelData'):
    dicom_film.read(PixelData=pages)


def test_a_deflated_film_is_inflated_as_far_as_allowed():
  dataset = pydicom.dcmread(io.BytesIO(dicom_film.encoded()))
  dataset.file_meta.TransferSyntaxUID = (
    pydicom.uid.DeflatedExplicitVRLittleEndian
  )
  out = io.BytesIO()
  dataset.save_as(out, enforce_file_format=True)
  np.testing.assert_array_equal(
    dicom.read(out.getvalue())['image'], dicom_film.stretched(dicom_film.RAMP)
  )
  few = limits.Admission(limits.Limits(megabytes=0.002))
  with pytest.raises(ValueError, match=r'0\.002 megabytes.*--max_megabytes'):
    dicom.read(out.getvalue(), few)
  with pytest.raises(ValueError, match='deflated DICOM is damaged'):
    dicom.read(out.getvalue()[:-40])


def test_a_large_film_is_refused_before_it_is_decoded():
  with pytest.raises(
    limits.TooLargeError, match=r'64 megapixels.*max_megapixels=3600'
  ):
    dicom_film.read(Rows=60000, Columns=60000)
