"""Memory of the largest films that are allowed, in processes of their own."""

import subprocess
import sys

import pytest

# Grows by the most that the process, or its worker, has held over idle.
SCRIPT = """
import io, pathlib, re, struct, sys, zlib
import numpy as np
from boneage_jax.imaging import codec, codec_pool, png
sys.path.insert(0, sys.argv[2])
import dicom_film, encode

def most(pid, key):
  text = pathlib.Path(f'/proc/{pid}/status').read_text()
  return int(re.search(rf'{key}:\\s*(\\d+)', text)[1]) << 10

def chunk(kind, body):
  check = struct.pack('>I', zlib.crc32(kind + body))
  return struct.pack('>I', len(body)) + kind + body + check

def rgba(side):
  row = np.arange(4 * side) // 64 * 97 % 65536
  row[3::4] = 60000  # alpha
  line = b'\\0' + row.astype('>u2').tobytes()
  stream = zlib.compressobj(1)
  body = b''.join(stream.compress(line) for _ in range(side)) + stream.flush()
  head = struct.pack('>IIBBBBB', side, side, 16, 6, 0, 0, 0)
  parts = [chunk(b'IHDR', head), chunk(b'IDAT', body), chunk(b'IEND', b'')]
  return png.SIGNATURE + b''.join(parts)

def dicom(side):
  row = np.arange(side, dtype=np.uint16) % 4096
  tags = dict(BitsStored=12, HighBit=11, RescaleSlope=2, RescaleIntercept=1)
  window = dict(WindowCenter=4000, WindowWidth=6000)
  return dicom_film.encoded(np.tile(row, (side, 1)), **tags, **window)

make = {'png': rgba, 'dicom': dicom}[sys.argv[1]]
codec.read(make(40))
data = make(7990)
worker = [w._process.pid for w in codec_pool._idle]
pids = worker or ['self']
idle = [most(pid, 'VmRSS') for pid in pids]
assert codec.read(data).image.shape == (7990, 7990)
assert [w._process.pid for w in codec_pool._idle] == worker
print(max(most(p, 'VmHWM') - i for p, i in zip(pids, idle)))
"""


@pytest.mark.ci
@pytest.mark.parametrize('kind', ['png', 'dicom'])
def test_the_largest_films_take_less_than_a_gibibyte(kind, request):
  if kind == 'dicom':
    pytest.importorskip('pydicom')
  helpers = str(request.config.rootpath / 'tests/helpers')
  done = subprocess.run(
    [sys.executable, '-c', SCRIPT, kind, helpers],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert int(done.stdout) < 1 << 30
