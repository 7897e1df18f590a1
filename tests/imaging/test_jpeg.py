"""JPEG files that are whole, odd or damaged."""

import cv2
from encode import encode
import numpy as np
import pytest
import simplejpeg

from boneage_jax.imaging import codec
from boneage_jax.imaging import jpeg

PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
OPTIMIZED = (cv2.IMWRITE_JPEG_OPTIMIZE, 1)
RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 3)


def film(height=217, width=151):
  """A picture with a black edge, as films have."""
  rng = np.random.default_rng(0)
  grey = cv2.GaussianBlur(
    rng.uniform(0, 255, (height, width)).astype(np.float32), (0, 0), 4
  )
  grey = np.clip(
    (grey - 128) * 5 + 128 + rng.normal(0, 1.5, grey.shape), 0, 255
  )
  grey[-24:] = 0
  return grey.astype(np.uint8)


def colour():
  return np.stack([film(), film()[::-1], film()[:, ::-1]], -1)


FORMS = {
  'baseline': encode(film(), '.jpg'),
  'optimized': encode(film(), '.jpg', OPTIMIZED),
  'progressive': encode(film(), '.jpg', PROGRESSIVE),
  'restarts': encode(film(), '.jpg', RESTARTS),
  'colour 4:2:0': encode(colour(), '.jpg'),
  'colour progressive': encode(colour(), '.jpg', PROGRESSIVE),
  'colour 4:2:0 restarts': encode(colour(), '.jpg', RESTARTS),
  'RGB': simplejpeg.encode_jpeg(colour(), colorspace='RGB'),
} | {
  f'colour {name}': simplejpeg.encode_jpeg(
    colour(), colorspace='BGR', colorsubsampling=name
  )
  for name in ('444', '422', '440', '411')
}
every_form = pytest.mark.parametrize('form', FORMS)


def notes(data):
  return codec.read(data).notes


@every_form
def test_pixels_are_those_of_opencv(form):
  data = FORMS[form]
  found = codec.read(data)
  decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  if decoded.ndim == 3:
    decoded = cv2.cvtColor(decoded, cv2.COLOR_BGR2GRAY)
  np.testing.assert_array_equal(found.image, decoded)
  assert not found.notes
  assert found.plain == (None if 'colour' in form or form == 'RGB' else data)


@every_form
@pytest.mark.parametrize('end', [b'\xff\xd9', b'\xff', b'', bytes(3000)])
def test_any_cut_is_refused(form, end, capfd):
  data = FORMS[form]
  for part in (0.1, 0.3, 0.5, 0.97):
    with pytest.raises(ValueError, match=r'(Truncated|Damaged) JPEG'):
      codec.read(data[: int(part * len(data))] + end)
  assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('form', ['progressive', 'colour progressive'])
def test_a_cut_between_two_scans_is_refused(form):
  """All that is there decodes without a word."""
  data = FORMS[form]
  scans = [i for i in range(len(data)) if data[i : i + 2] == b'\xff\xda']
  tables = [i for i in range(len(data)) if data[i : i + 2] == b'\xff\xc4']
  cut = max(i for i in tables if i < scans[-1]) if tables else scans[-1]
  for end in (cut, scans[1]):
    with pytest.raises(ValueError, match='scans are missing'):
      codec.read(data[:end] + b'\xff\xd9')


@pytest.mark.parametrize('form', ['baseline', 'optimized', 'restarts'])
@pytest.mark.parametrize('size', [64, 4096])
def test_changed_bytes_are_refused(form, size, capfd):
  data = FORMS[form]
  rng = np.random.default_rng(1)
  seen = 0
  for _ in range(10):
    at = rng.integers(len(data) // 5, len(data) - size - 9)
    new = rng.bytes(size) if size == 64 else bytes(size)
    changed = data[:at] + new + data[at + size :]
    try:
      codec.read(changed)
    except ValueError as e:
      seen += 1
      assert str(e).startswith(('Damaged JPEG', 'Truncated JPEG'))
    else:  # there is nothing that libjpeg would say
      simplejpeg.decode_jpeg(changed, 'GRAY', strict=True)
  # JPEG has no checksum: docs/reference/reading.md has the shares.
  assert seen >= 6
  assert capfd.readouterr() == ('', '')


STRAY = {
  'one': b'a',
  'zeros': bytes(50),
  'letters': b'abcdefghij' * 3,
  'noise': bytes(np.random.default_rng(3).integers(0, 255, 200, np.uint8)),
}


@pytest.mark.parametrize(
  'form',
  [
    'baseline',
    'optimized',
    'progressive',
    'restarts',
    'colour 4:2:0 restarts',
    'colour 411',
  ],
)
@pytest.mark.parametrize('stray', STRAY)
def test_stray_bytes_before_the_end_are_read_with_a_note(form, stray, capfd):
  data = FORMS[form]
  odd = data[:-2] + STRAY[stray] + data[-2:]
  if stray == 'noise' and 'progressive' in form:
    with pytest.raises(ValueError, match='more blocks'):  # cannot be told
      codec.read(odd)
    return
  found = codec.read(odd)
  assert found.notes == ('stray_bytes',)
  whole = codec.read(data)
  np.testing.assert_array_equal(found.image, whole.image)
  assert found.plain == whole.plain
  assert capfd.readouterr() == ('', '')


@every_form
def test_other_oddities_are_read_with_a_note(form, capfd):
  data = FORMS[form]
  whole = codec.read(data)
  revision = data.replace(b'JFIF\0\1', b'JFIF\0\4')
  cases = {
    (data[:-2],): ('end_marker',),
    (data[:-1],): ('end_marker',),
    (data, b'behind'): ('trailing_bytes',),
    (data, data): ('trailing_bytes',),
    (data[:2], b'\0\1\2', data[2:]): ('jpeg_header',),
    (data[:-2], bytes(20)): ('end_marker', 'stray_bytes'),
  }
  if revision != data:
    cases[(revision,)] = ('jpeg_header',)
    cases[(revision, b'x')] = ('trailing_bytes', 'jpeg_header')
  for parts, wanted in cases.items():
    found = codec.read(b''.join(parts))
    assert found.notes == wanted
    np.testing.assert_array_equal(found.image, whole.image)
    if found.plain:  # decodes without a word ever after
      simplejpeg.decode_jpeg(found.plain, 'GRAY', strict=True)
      np.testing.assert_array_equal(
        codec.decode_stored(found.plain), whole.image
      )
  assert capfd.readouterr() == ('', '')


def test_an_odd_header_hides_no_damage():
  """libjpeg gives its last warning alone, and each of these gives one."""
  data = FORMS['baseline']
  cut = data[: len(data) // 2] + b'\xff\xd9'
  with pytest.raises(ValueError, match='Truncated JPEG'):
    codec.read(cut.replace(b'JFIF\0\1', b'JFIF\0\4'))
  at = len(data) // 2
  changed = data[:at] + bytes(64) + data[at + 64 : -2] + b'abcdef\xff\xd9'
  with pytest.raises(ValueError, match=r'(Damaged|Truncated) JPEG'):
    codec.read(changed)


def test_odd_scan_and_colour_headers_are_mended():
  """The selection of a sequential scan says nothing, nor does Adobe's 9."""
  data = FORMS['baseline']
  at = data.index(b'\xff\xda')
  length = int.from_bytes(data[at + 2 : at + 4], 'big')
  odd = data[: at + length - 1] + b'\0\0\0' + data[at + length + 2 :]
  found = codec.read(odd)
  assert found.notes == ('jpeg_header',) and found.plain == data
  colours = FORMS['colour 4:2:0']
  size = int.from_bytes(colours[4:6], 'big')  # in the place of APP0
  adobe = b'\xff\xee\0\x0eAdobe\0\x64' + bytes(4) + b'\x09'
  found = codec.read(colours[:2] + adobe + colours[4 + size :])
  assert found.notes == ('jpeg_header',)
  np.testing.assert_array_equal(found.image, codec.read(colours).image)


def test_what_is_no_jpeg_says_so():
  for data in (b'\xff\xd8', b'\xff\xd8\xff\xd9', b'\xff\xd8\xff\xe0\0\1ab'):
    with pytest.raises(ValueError, match='JPEG'):
      codec.read(data)
  assert jpeg.check(FORMS['baseline']).data is FORMS['baseline']
