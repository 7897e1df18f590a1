"""A server of fake nets, for tests of `serve`."""

import contextlib

import cv2
from fake_nets import FakeChecks
from fake_nets import FakeNets
import numpy as np
import pytest

pytest.importorskip('fastapi', reason='needs the extra web')
testclient = pytest.importorskip('starlette.testclient', reason='needs httpx')

from boneage_jax.imaging import limits  # noqa: E402
from boneage_jax.inference import basis  # noqa: E402
from boneage_jax.serve import app as app_lib  # noqa: E402
from boneage_jax.serve import reader as reader_lib  # noqa: E402
from boneage_jax.serve import settings as settings_lib  # noqa: E402

reader_lib.DECODERS = 1  # a process that starts takes longer than all films
BASIS = basis.Basis('made:up, assessor', '9.9', '12 <films>', True)


def png(first=7, hw=(40, 30)):
  """A film whose age is 100 months and its first pixel; 0 is refused."""
  film = np.random.default_rng(first).integers(1, 255, hw, np.uint8)
  film[0, 0] = first
  return cv2.imencode('.png', film)[1].tobytes()


def nets(**changes):
  made = FakeNets(batch_size=1, **changes)
  made.checks, made.basis = FakeChecks(0), BASIS
  return made


def client(app, **headers):
  """A browser at this machine."""
  return testclient.TestClient(
    app, 'http://localhost', headers=headers, raise_server_exceptions=False
  )


@contextlib.contextmanager
def served(found=None, **settings):
  """Yield a client, and the lines of the log."""
  allowed = settings_lib.Settings(**settings)
  reader = reader_lib.Reader(found or nets(), limits.Limits(allowed.megapixels))
  lines = []
  try:
    yield client(app_lib.create(reader, allowed, lines.append)), lines
  finally:
    reader.close()


def ask(browser, *films, sex='F', **more):
  """Send films, bytes each or (name, bytes)."""
  files = [
    ('file', one if isinstance(one, tuple) else ('hand.png', one))
    for one in films
  ]
  return browser.post('/predict', files=files, data={'sex': sex, **more})
