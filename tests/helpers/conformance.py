"""Writes docs/reference/formats.md: what is read, refused or flagged.

  python tests/helpers/conformance.py

Films are made here, or are pydicom's own samples. Each is read, and compared
with what Pillow or pydicom makes of it.
"""

from collections.abc import Callable
from collections.abc import Iterator
import io
import pathlib
import warnings

import cv2
import dicom_film
from encode import encode
import numpy as np
from PIL import Image
import pydicom
import pydicom.data
import tiff_file

from boneage_jax.imaging import codec
from boneage_jax.inference import quality

PAGE = pathlib.Path(__file__).parents[2] / 'docs/reference/formats.md'
SAMPLES = pathlib.Path(pydicom.data.__file__).parent / 'test_files'
HEAD = """# Formats

Which films are read, which are read with a note or a flag, and which are
refused. `python tests/helpers/conformance.py` writes this page with the
packages of the extras `test` and `dicom`, and a test holds it to what the code
does. [How films are read](reading.md) says what notes and flags mean.

The last column compares with Pillow for files of pictures, and with pydicom for
DICOM: `equal` pixels; `luminance`, of colours, within one grey; `same values`,
where every value that pydicom gives has one grey, and greys rise (or fall) with
values, so that only the window or the range of greys was applied.
"""
GREY = cv2.GaussianBlur(
  np.random.default_rng(0).integers(0, 256, (48, 40), np.uint8), (0, 0), 2
)
DEEP = GREY.astype(np.uint16) * 231 + np.arange(40, dtype=np.uint16)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], -1)


def pictures() -> Iterator[tuple[str, bytes]]:
  """Yield names and bytes of films that are no DICOM."""
  bgr = COLOUR[..., ::-1]
  yield 'PNG, grey, 8 bits', encode(GREY)
  yield 'PNG, grey, 16 bits', encode(DEEP)
  yield 'PNG, RGB, 8 bits', encode(bgr)
  yield 'PNG, palette', saved(Image.fromarray(COLOUR).quantize(200), 'PNG')
  yield 'PNG, black and white', saved(Image.fromarray(GREY > 120), 'PNG')
  yield 'PNG, cut off', encode(GREY)[:-20]
  yield 'JPEG, grey', encode(GREY, '.jpg')
  yield 'JPEG, colour', encode(bgr, '.jpg')
  progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
  yield 'JPEG, progressive', encode(GREY, '.jpg', progressive)
  yield 'JPEG, bytes behind its end', encode(GREY, '.jpg') + b'more'
  yield 'JPEG, cut off', encode(GREY, '.jpg')[:-99]
  yield 'BMP, grey, 8 bits', encode(GREY, '.bmp')
  yield 'BMP, RGB, 24 bits', encode(bgr, '.bmp')
  yield 'BMP, 32 bits', saved(Image.fromarray(COLOUR).convert('RGBA'), 'BMP')
  for name, packed in (
    ('not compressed', 'raw'),
    ('LZW', 'tiff_lzw'),
    ('Deflate', 'tiff_adobe_deflate'),
    ('PackBits', 'packbits'),
    ('JPEG', 'jpeg'),
  ):
    for kind, image in (('grey', GREY), ('16 bits', DEEP), ('RGB', COLOUR)):
      if packed != 'jpeg' or kind != '16 bits':
        whole = Image.fromarray(image)
        yield f'TIFF, {name}, {kind}', saved(whole, 'TIFF', compression=packed)
  yield 'TIFF, big-endian, 16 bits', tiff_file.made(DEEP, '>')
  yield 'TIFF, tiles', tiff_file.made(GREY, tile=(16, 32))
  yield 'TIFF, MinIsWhite', tiff_file.made(GREY, photometric=0)
  pages = [Image.fromarray(GREY)] * 3
  several = saved(pages[0], 'TIFF', save_all=True, append_images=pages[1:])
  yield 'TIFF, three pages', several
  yield 'TIFF, RGBA', saved(Image.fromarray(COLOUR).convert('RGBA'), 'TIFF')
  yield 'TIFF, black and white', saved(Image.fromarray(GREY > 120), 'TIFF')
  yield 'TIFF, floats', saved(Image.fromarray(GREY.astype('f4')), 'TIFF')
  yield 'TIFF, CMYK', saved(Image.fromarray(COLOUR).convert('CMYK'), 'TIFF')
  yield 'GIF', saved(Image.fromarray(GREY), 'GIF')
  yield 'WebP', encode(GREY, '.webp')
  yield 'JPEG 2000', encode(GREY, '.jp2')
  yield 'empty file', b''


def dicoms() -> Iterator[tuple[str, bytes]]:
  """Yield names and bytes of DICOM films, by the element that they try."""
  made = dicom_film.encoded
  eight = {'BitsAllocated': 8, 'BitsStored': 8, 'HighBit': 7}
  same = made(GREY, **eight, PixelData=GREY.tobytes())
  yield '8 bits', same
  yield '16 bits', made(DEEP)
  yield '12 bits', made(DEEP >> 4, BitsStored=12, HighBit=11)
  yield 'signed', made(DEEP - 9000, PixelRepresentation=1)
  yield 'MONOCHROME1', made(DEEP, PhotometricInterpretation='MONOCHROME1')
  yield 'no preamble and no header', same[132:]
  yield (
    'PresentationLUTShape INVERSE',
    made(DEEP, PresentationLUTShape='INVERSE'),
  )
  for value in ('2', '', '1,5', '0'):
    data = made(DEEP, RescaleSlope='9', RescaleIntercept=5)
    data = replaced(data, 'RescaleSlope', value)
    yield f'RescaleSlope "{value}"', data
  for width in ('20000', '0', '-9', '', '1,5'):
    data = made(DEEP, WindowCenter=30000, WindowWidth='9')
    yield f'WindowWidth "{width}"', replaced(data, 'WindowWidth', width)
  window = {'WindowCenter': 30000, 'WindowWidth': 20000}
  for shape in ('LINEAR', 'LINEAR_EXACT', 'SIGMOID', '', 'CUBIC'):
    data = made(DEEP, **window, VOILUTFunction=shape or None)
    yield f'VOILUTFunction "{shape}"', data
  for value in (DEEP[0, 0], None):
    yield (
      f'PixelPaddingValue {"void" if value is None else "of the film"}',
      made(DEEP, PixelPaddingValue=None if value is None else int(value)),
    )
  yield (
    'PixelPaddingRangeLimit void',
    made(DEEP, PixelPaddingValue=1, PixelPaddingRangeLimit=None),
  )
  yield 'PixelSpacing of one value', made(DEEP, PixelSpacing=[0.1])
  yield (
    'PresentationIntentType FOR PROCESSING',
    made(DEEP, PresentationIntentType='FOR PROCESSING'),
  )
  yield 'NumberOfFrames void', made(DEEP, NumberOfFrames=None)
  three = np.tile(DEEP, (3, 1)).astype('<u2').tobytes()
  yield 'NumberOfFrames 3', made(DEEP, NumberOfFrames=3, PixelData=three)
  yield 'PixelData of three pages', made(DEEP, PixelData=three)
  yield 'PixelData cut off', made(DEEP)[:-100]
  for keyword in (
    'Rows', 'SamplesPerPixel', 'BitsAllocated', 'BitsStored', 'HighBit',
    'PixelRepresentation', 'PhotometricInterpretation', 'PixelData',
  ):  # fmt: skip
    yield f'{keyword} absent', without(made(DEEP), keyword)
  yield 'Rows and Columns 60000', made(DEEP, Rows=60000, Columns=60000)


def samples() -> Iterator[tuple[str, bytes]]:
  """Yield names and bytes of pydicom's samples that have pixels."""
  for path in sorted(SAMPLES.glob('*.dcm')):
    yield path.name, path.read_bytes()


def page() -> str:
  """Return the page."""
  parts = [HEAD]
  for title, films, second in (
    ('Pictures', pictures, of_pillow),
    ('DICOM features', dicoms, of_pydicom),
    ("pydicom's samples", samples, of_pydicom),
  ):
    lines = ['| film | verdict | second decoder |', '|---|---|---|']
    lines += [line(name, data, second) for name, data in films()]
    parts.append(f'## {title}\n\n' + '\n'.join(lines) + '\n')
  return '\n'.join(parts)


def line(name: str, data: bytes, second: Callable[[bytes], np.ndarray]) -> str:
  """Read a film, and say what becomes of it."""
  try:
    film = codec.read(data)
  except ValueError as error:
    reason = str(error).removeprefix('DICOM film: ')
    reason = reason.split(': Unable')[0].split('. ')[0].split('; ')[0]
    reason = reason.replace('|', '/').rstrip('.')
    return f'| {name} | refused: {reason} | |'
  flags = [note for note in film.notes if note in quality.OF_FILE]
  notes = [note for note in film.notes if note not in flags]
  said = [f'`{note}` (flag)' for note in flags] + [f'`{n}`' for n in notes]
  verdict = 'read' + (', with ' if said else '') + ', '.join(said)
  return f'| {name} | {verdict} | {agreement(film.image, second(data))} |'


def agreement(image: np.ndarray, other: np.ndarray | None) -> str:
  """Compare a film with what another decoder gives."""
  if other is None:
    return 'does not read it'
  if image.shape != other.shape[:2]:
    return 'DIFFERS'
  if np.array_equal(image, other):
    return 'equal'
  if other.ndim == 3:
    most = np.iinfo(other.dtype).max
    grey = other[..., :3] @ np.array([0.299, 0.587, 0.114]) * (255 / most)
    return 'luminance' if np.abs(image - grey).max() <= 1.01 else 'DIFFERS'
  if np.abs(image.astype(float) - other).max() <= 1:
    return 'within 1'
  kept = image > 0  # padding is black, of whatever value
  values, places = np.unique(other[kept], return_inverse=True)
  greys = image[kept].astype(int)
  low, high = (np.full(len(values), start) for start in (255, 0))
  np.minimum.at(low, places, greys)
  np.maximum.at(high, places, greys)
  steps = np.diff(high)
  one = np.array_equal(low, high) and (np.all(steps >= 0) or np.all(steps <= 0))
  return 'same values' if one else 'DIFFERS'


def of_pillow(data: bytes) -> np.ndarray | None:
  """Return pixels by Pillow, which inverts MinIsWhite of 8 bits as we do."""
  image = Image.open(io.BytesIO(data))
  return np.asarray(image.convert('RGB') if image.mode in '1P' else image)


def of_pydicom(data: bytes) -> np.ndarray | None:
  """Return the values, or colours, that pydicom gives."""
  dataset = pydicom.dcmread(io.BytesIO(data), force=True)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    dataset.file_meta = getattr(dataset, 'file_meta', None) or (
      pydicom.dataset.FileMetaDataset()
    )
    implicit, little = dataset.original_encoding
    if 'TransferSyntaxUID' not in dataset.file_meta:
      dataset.file_meta.TransferSyntaxUID = (
        pydicom.uid.ImplicitVRLittleEndian
        if implicit
        else pydicom.uid.ExplicitVRLittleEndian
        if little
        else pydicom.uid.ExplicitVRBigEndian
      )
    try:
      pixels = dataset.pixel_array
    except Exception:
      return None
  if dataset.PhotometricInterpretation == 'PALETTE COLOR':
    return pydicom.pixels.apply_color_lut(pixels, dataset)
  return pixels


def saved(image: Image.Image, kind: str, **options) -> bytes:
  out = io.BytesIO()
  image.save(out, kind, **options)
  return out.getvalue()


def replaced(data: bytes, keyword: str, value: str) -> bytes:
  """Write another value, which pydicom might refuse to write."""
  tag = pydicom.tag.Tag(keyword)
  start = tag.group.to_bytes(2, 'little') + tag.elem.to_bytes(2, 'little')
  at = data.index(start + b'DS', 132) + 6
  size = 2 + int.from_bytes(data[at : at + 2], 'little')
  written = value.encode().ljust(len(value) + len(value) % 2)
  head = len(written).to_bytes(2, 'little')
  return data[:at] + head + written + data[at + size :]


def without(data: bytes, keyword: str) -> bytes:
  dataset = pydicom.dcmread(io.BytesIO(data))
  del dataset[keyword]
  out = io.BytesIO()
  dataset.save_as(out)
  return out.getvalue()


if __name__ == '__main__':
  PAGE.write_text(page(), encoding='utf-8')
