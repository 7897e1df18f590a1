"""Pixels of DICOM files of every kind, against values computed by hand."""

import io
import pathlib

import dicom_film
import encode
import numpy as np
import pytest

from boneage_jax.imaging import dicom

pydicom = pytest.importorskip('pydicom')
pytest.importorskip('pydicom.data')


def signed(values):
  return values.astype(np.int16).view(np.uint16)


@pytest.mark.parametrize('written', [63536, -2000])
def test_padding_of_signed_pixels_however_it_is_written(written):
  pixels = dicom_film.RAMP.astype(np.int16) - 700
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
  np.testing.assert_array_equal(
    image[8:], dicom_film.stretched(dicom_film.RAMP[8:])
  )


def test_a_padding_range():
  pixels = dicom_film.RAMP + 100
  pixels[0] = np.arange(32) + 5
  image = dicom_film.read(
    pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=50
  )
  np.testing.assert_array_equal(image[1:], dicom_film.stretched(pixels[1:]))
  with pytest.raises(ValueError, match='every pixel is padding'):
    dicom_film.read(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=9000)


def test_a_big_endian_film():
  """pydicom has one film in three spellings."""
  folder = pathlib.Path(pydicom.data.__file__).parent / 'test_files'
  little, *big = (
    dicom.read((folder / f'MR_small{name}.dcm').read_bytes())
    for name in ('', '_expb', '_bigendian')
  )
  for film in big:
    np.testing.assert_array_equal(film['image'], little['image'])
    assert film['notes'] == little['notes']


@pytest.mark.parametrize('below', [0, 9])
def test_values_in_the_upper_bits(below):
  """HighBit 15 with 12 bits: what lies below them does not count."""
  pixels = (dicom_film.RAMP + 2000 << 4) + below
  image = dicom_film.read(pixels, BitsStored=12, HighBit=15)
  np.testing.assert_array_equal(image, dicom_film.stretched(dicom_film.RAMP))
  image = dicom_film.read(
    signed((dicom_film.RAMP.astype(np.int32) - 700 << 4).astype(np.int16)),
    BitsStored=12,
    HighBit=15,
    PixelRepresentation=1,
  )
  np.testing.assert_array_equal(image, dicom_film.stretched(dicom_film.RAMP))


def test_signed_values_of_12_bits_with_and_without_copies_of_the_sign():
  values = dicom_film.RAMP.astype(np.int32) - 700
  for words in (values & 0xFFF, values & 0xFFFF):
    tags = {'BitsStored': 12, 'HighBit': 11, 'PixelRepresentation': 1}
    image = dicom_film.read(words.astype('u2'), **tags)
    np.testing.assert_array_equal(image, dicom_film.stretched(dicom_film.RAMP))


@pytest.mark.parametrize(
  ('pixels', 'tags'),
  [
    (dicom_film.RAMP * 40, {'BitsStored': 12, 'HighBit': 11}),
    (dicom_film.RAMP + 1, {'BitsStored': 12, 'HighBit': 15}),
  ],
)
def test_bits_that_the_header_denies_are_refused(pixels, tags):
  with pytest.raises(ValueError, match=r'do not fit the header.*HighBit'):
    dicom_film.read(pixels, **tags)


def test_8_and_32_bits():
  grey = (dicom_film.RAMP % 251 // 2).astype(np.uint8)
  tags = {'BitsAllocated': 8, 'BitsStored': 8, 'HighBit': 7}
  same = {**tags, 'PixelData': grey.tobytes()}
  np.testing.assert_array_equal(dicom_film.read(**same), grey)  # left alone
  image = dicom_film.read(**same, PhotometricInterpretation='MONOCHROME1')
  np.testing.assert_array_equal(image, 255 - grey)
  image = dicom_film.read(**same, WindowCenter=128, WindowWidth=256)
  np.testing.assert_array_equal(image, grey)
  deep = {'BitsAllocated': 32, 'BitsStored': 32, 'HighBit': 31}
  image = dicom_film.read(
    **deep, PixelData=(dicom_film.RAMP.astype('<u4') * 100_000).tobytes()
  )
  np.testing.assert_array_equal(image, dicom_film.stretched(dicom_film.RAMP))
  one = {'BitsAllocated': 1, 'BitsStored': 1, 'HighBit': 0}
  with pytest.raises(ValueError, match='8, 16 or 32 bits'):
    dicom_film.read(
      **one, PixelData=dicom_film.RAMP.tobytes()[: dicom_film.RAMP.size // 8]
    )


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
  index = dicom_film.RAMP % 256
  luminance = colours @ [0.299, 0.587, 0.114]
  image = dicom_film.read(index, **tags)
  assert np.abs(image - luminance[index]).max() <= 0.51
  del tags['RedPaletteColorLookupTableData']
  with pytest.raises(ValueError, match='PALETTE COLOR cannot be read'):
    dicom_film.read(index, **tags)


@pytest.mark.parametrize('kind', ['HSV', 'CMYK', 'YBR_PARTIAL_420', 'XYB'])
def test_other_photometric_interpretations_are_refused_by_name(kind):
  with pytest.raises(ValueError, match=f"found '{kind}'"):
    dicom_film.read(PhotometricInterpretation=kind)


def test_colour_with_luminance_apart():
  """YBR_FULL: the first sample is the grey, chroma 128 is none."""
  grey = (dicom_film.RAMP % 256).astype(np.uint8)
  ybr = np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], -1)
  tags = {
    'SamplesPerPixel': 3,
    'PhotometricInterpretation': 'YBR_FULL',
    'BitsAllocated': 8,
    'BitsStored': 8,
    'HighBit': 7,
  }
  for planar, data in ((0, ybr), (1, np.moveaxis(ybr, 2, 0))):
    image = dicom_film.read(
      **tags, PlanarConfiguration=planar, PixelData=data.tobytes()
    )
    np.testing.assert_array_equal(image, grey)


@pytest.mark.parametrize(
  'keyword',
  ['Rows', 'BitsAllocated', 'BitsStored', 'HighBit', 'PixelRepresentation',
   'SamplesPerPixel', 'PhotometricInterpretation', 'PixelData'],
)  # fmt: skip
def test_missing_elements_are_refused_by_name(keyword):
  dataset = pydicom.dcmread(io.BytesIO(dicom_film.encoded()))
  del dataset[keyword]
  out = io.BytesIO()
  dataset.save_as(out)
  name = {'PixelData': 'no pixel data'}.get(keyword, keyword)
  with pytest.raises(ValueError, match=name):
    dicom.read(out.getvalue())


def test_damage_of_a_jpeg_inside_is_seen():
  pytest.importorskip('PIL')
  grey = (dicom_film.RAMP % 97).astype(np.uint8)
  jpeg = encode.encode(np.tile(grey, (4, 4)), '.jpg')
  tags = {'BitsAllocated': 8, 'BitsStored': 8, 'HighBit': 7}

  def wrapped(data):
    dataset = pydicom.dcmread(
      io.BytesIO(dicom_film.encoded(np.zeros((192, 128), np.uint16), **tags))
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
