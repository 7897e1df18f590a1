"""DICOM films against pixels computed by hand."""

import io

import dicom_film
import encode
import numpy as np
import pytest

from boneage_jax.imaging import dicom

pydicom = pytest.importorskip('pydicom')

RAMP = np.arange(48 * 32, dtype=np.uint16).reshape(48, 32)


def film(pixels=RAMP, **tags):
  return dicom_film.encoded(pixels, **tags)


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
  return dicom.read(film(*args, **tags))['image']


def test_without_a_window_percentiles_become_8_bit():
  image = dicom.read(film(RAMP + 700))['image']
  assert image.dtype == np.uint8
  np.testing.assert_array_equal(image, stretched(RAMP))
  few = RAMP.copy()
  few[0, :7] = 60000  # fewer than one of 200
  assert np.corrcoef(read(few)[1:].ravel(), RAMP[1:].ravel())[0, 1] > 0.999


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
  np.testing.assert_array_equal(image, stretched(RAMP, 400, 599))
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
  image = read(
    pixels, PhotometricInterpretation=photometric, PixelPaddingValue=60000
  )
  assert image[:8].max() == 0
  field = stretched(pixels[8:])
  expected = 255 - field if photometric == 'MONOCHROME1' else field
  np.testing.assert_array_equal(image[8:], expected)


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


def signed(values):
  return values.astype(np.int16).view(np.uint16)


@pytest.mark.parametrize('written', [63536, -2000])
def test_padding_of_signed_pixels_however_it_is_written(written):
  pixels = RAMP.astype(np.int16) - 700
  pixels[:8] = -2000
  data = dicom_film.encoded(
    signed(pixels), PixelRepresentation=1, PixelPaddingValue=0
  )
  # Explicit VR: `US` for 63536, as writers do, or `SS`.
  tag = b'\x28\x00\x20\x01'
  at = data.index(tag)
  kind = b'US' if written > 0 else b'SS'
  value = (written % 65536).to_bytes(2, 'little')
  data = data[: at + 4] + kind + data[at + 6 : at + 8] + value + data[at + 10 :]
  image = dicom.read(data)['image']
  assert image[:8].max() == 0
  np.testing.assert_array_equal(image[8:], stretched(RAMP[8:]))


def test_a_padding_range():
  pixels = RAMP + 100
  pixels[0] = np.arange(32) + 5
  image = read(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=50)
  np.testing.assert_array_equal(image[1:], stretched(pixels[1:]))
  with pytest.raises(ValueError, match='every pixel is padding'):
    read(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=9000)


@pytest.mark.parametrize('below', [0, 9])
def test_values_in_the_upper_bits(below):
  """HighBit 15 with 12 bits: what lies below them does not count."""
  pixels = (RAMP + 2000 << 4) + below
  image = read(pixels, BitsStored=12, HighBit=15)
  np.testing.assert_array_equal(image, stretched(RAMP))
  image = read(
    signed((RAMP.astype(np.int32) - 700 << 4).astype(np.int16)),
    BitsStored=12,
    HighBit=15,
    PixelRepresentation=1,
  )
  np.testing.assert_array_equal(image, stretched(RAMP))


def test_signed_values_of_12_bits_with_and_without_copies_of_the_sign():
  values = RAMP.astype(np.int32) - 700
  for words in (values & 0xFFF, values & 0xFFFF):
    tags = {'BitsStored': 12, 'HighBit': 11, 'PixelRepresentation': 1}
    image = read(words.astype('u2'), **tags)
    np.testing.assert_array_equal(image, stretched(RAMP))


@pytest.mark.parametrize(
  ('pixels', 'tags'),
  [
    (RAMP * 40, {'BitsStored': 12, 'HighBit': 11}),
    (RAMP + 1, {'BitsStored': 12, 'HighBit': 15}),
  ],
)
def test_bits_that_the_header_denies_are_refused(pixels, tags):
  with pytest.raises(ValueError, match=r'do not fit the header.*HighBit'):
    read(pixels, **tags)


def test_8_and_32_bits():
  grey = (RAMP % 251 // 2).astype(np.uint8)
  tags = {'BitsAllocated': 8, 'BitsStored': 8, 'HighBit': 7}
  same = {**tags, 'PixelData': grey.tobytes()}
  np.testing.assert_array_equal(read(**same), grey)  # left alone
  image = read(**same, PhotometricInterpretation='MONOCHROME1')
  np.testing.assert_array_equal(image, 255 - grey)
  image = read(**same, WindowCenter=128, WindowWidth=256)
  np.testing.assert_array_equal(image, grey)
  deep = {'BitsAllocated': 32, 'BitsStored': 32, 'HighBit': 31}
  image = read(**deep, PixelData=(RAMP.astype('<u4') * 100_000).tobytes())
  np.testing.assert_array_equal(image, stretched(RAMP))
  one = {'BitsAllocated': 1, 'BitsStored': 1, 'HighBit': 0}
  with pytest.raises(ValueError, match='8, 16 or 32 bits'):
    read(**one, PixelData=RAMP.tobytes()[: RAMP.size // 8])


@pytest.mark.parametrize('bits', [8, 12, 16])
@pytest.mark.parametrize('inverted', [False, True])
def test_the_whole_window_gives_the_same_greys_at_every_depth(bits, inverted):
  grey = (RAMP % 231).astype(np.uint16)
  most = (1 << bits) - 1
  for deep in (grey << bits - 8, np.rint(grey * (most / 255))):
    pixels = most - deep if inverted else deep
    tags = {'BitsStored': bits, 'HighBit': bits - 1}
    image = read(
      pixels,
      **tags,
      PhotometricInterpretation=f'MONOCHROME{2 - inverted}',
      WindowCenter=1 << bits - 1,
      WindowWidth=1 << bits,
    )
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
  dataset = pydicom.dcmread(io.BytesIO(film(**tags)))
  values = pydicom.pixels.apply_modality_lut(RAMP, dataset)
  lut = pydicom.pixels.apply_voi_lut(values, dataset)
  ends = pydicom.pixels.apply_voi_lut(np.array([-1e5, 1e5]), dataset)
  assert (
    np.abs(read(**tags) - 255 * (lut - ends[0]) / (ends[1] - ends[0])).max() < 1
  )


def lut(values, first=0, bits=16):
  item = pydicom.Dataset()
  item.LUTDescriptor = [len(values), first, bits]
  item.LUTData = np.asarray(values, '<u2').tobytes()
  item['LUTData'].VR = 'OW'
  return [item]


def test_lookup_tables():
  table = np.sqrt(np.arange(1536) / 1535) * 1023
  image = read(VOILUTSequence=lut(table, bits=10))
  assert np.abs(image - table[RAMP] / 1023 * 255).max() <= 1.01
  image = read(ModalityLUTSequence=lut(table * 40))
  expected = stretched(table.astype('u2')[RAMP])
  assert np.abs(image.astype(int) - expected).max() <= 4  # 40 times as fine
  with pytest.raises(ValueError, match='ModalityLUTSequence cannot be read'):
    read(ModalityLUTSequence=[pydicom.Dataset()])


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
  ],
  ids=str,
)
def test_windows_that_make_no_sense_are_named_and_not_used(tags):
  found = dicom.read(film(**tags))
  assert found['notes'] == ('window',)
  np.testing.assert_array_equal(found['image'], stretched(RAMP))


def test_the_first_window_that_fits_is_used():
  tags = {'WindowCenter': [9000, 700], 'WindowWidth': [400, 1000]}
  found = dicom.read(film(**tags))
  assert not found['notes']
  np.testing.assert_array_equal(found['image'], stretched(RAMP, 200, 1199))


@pytest.mark.parametrize('keyword', ['RescaleSlope', 'RescaleIntercept'])
@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_a_rescale_without_numbers_is_refused_by_name(keyword, value):
  tags = {'RescaleSlope': 1, 'RescaleIntercept': 0, keyword: float(value)}
  with pytest.raises(ValueError, match=f'expected a number as {keyword}'):
    read(**tags)


def test_a_rescale_of_nothing():
  with pytest.raises(ValueError, match='RescaleSlope other than 0'):
    read(RescaleSlope=0, RescaleIntercept=0)
  image = read(RescaleSlope=None, RescaleIntercept=None)
  np.testing.assert_array_equal(image, stretched(RAMP))
  with pytest.raises(ValueError, match=r'no numbers|same value'):
    read(RescaleSlope=1e308, RescaleIntercept=0)


def palette(**tags):
  rng = np.random.default_rng(4)
  colours = rng.integers(0, 256, (256, 3), np.uint16)
  for name, column in zip(('Red', 'Green', 'Blue'), colours.T, strict=True):
    tags[f'{name}PaletteColorLookupTableDescriptor'] = [256, 0, 16]
    tags[f'{name}PaletteColorLookupTableData'] = (
      (column * 257).astype('<u2').tobytes()
    )
  return colours, {
    'PhotometricInterpretation': 'PALETTE COLOR',
    'BitsStored': 8,
    'HighBit': 7,
    **tags,
  }


def test_a_palette_is_applied():
  colours, tags = palette()
  index = RAMP % 256
  luminance = colours @ [0.299, 0.587, 0.114]
  image = read(index, **tags)
  assert np.abs(image - luminance[index]).max() <= 0.51
  del tags['RedPaletteColorLookupTableData']
  with pytest.raises(ValueError, match='PALETTE COLOR cannot be read'):
    read(index, **tags)


@pytest.mark.parametrize('kind', ['HSV', 'CMYK', 'YBR_PARTIAL_420', 'XYB'])
def test_other_photometric_interpretations_are_refused_by_name(kind):
  with pytest.raises(ValueError, match=f"found '{kind}'"):
    read(PhotometricInterpretation=kind)


def test_colour_with_luminance_apart():
  """YBR_FULL: the first sample is the grey, chroma 128 is none."""
  grey = (RAMP % 256).astype(np.uint8)
  ybr = np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], -1)
  tags = {
    'SamplesPerPixel': 3,
    'PhotometricInterpretation': 'YBR_FULL',
    'BitsAllocated': 8,
    'BitsStored': 8,
    'HighBit': 7,
  }
  for planar, data in ((0, ybr), (1, np.moveaxis(ybr, 2, 0))):
    image = read(**tags, PlanarConfiguration=planar, PixelData=data.tobytes())
    np.testing.assert_array_equal(image, grey)


@pytest.mark.parametrize(
  'keyword',
  ['Rows', 'BitsAllocated', 'BitsStored', 'PixelRepresentation',
   'SamplesPerPixel', 'PhotometricInterpretation', 'PixelData'],
)  # fmt: skip
def test_missing_elements_are_refused_by_name(keyword):
  dataset = pydicom.dcmread(io.BytesIO(film()))
  del dataset[keyword]
  out = io.BytesIO()
  dataset.save_as(out)
  name = {'PixelData': 'no pixel data'}.get(keyword, keyword)
  with pytest.raises(ValueError, match=name):
    dicom.read(out.getvalue())


def test_damage_of_a_jpeg_inside_is_seen():
  pytest.importorskip('PIL')
  grey = (RAMP % 97).astype(np.uint8)
  jpeg = encode.encode(np.tile(grey, (4, 4)), '.jpg')
  tags = {'BitsAllocated': 8, 'BitsStored': 8, 'HighBit': 7}

  def wrapped(data):
    dataset = pydicom.dcmread(
      io.BytesIO(film(np.zeros((192, 128), np.uint16), **tags))
    )
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset.PixelData = pydicom.encaps.encapsulate([data])
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()

  image = dicom.read(wrapped(jpeg))['image']
  assert image.shape == (192, 128)
  cut = jpeg[: len(jpeg) // 2] + b'\xff\xd9'
  with pytest.raises(ValueError, match='Truncated JPEG'):
    dicom.read(wrapped(cut))
