"""A server of fake nets, for tests of `serve`."""

import contextlib
import socket
import threading

import cv2
from fake_nets import FakeChecks
from fake_nets import FakeNets
import numpy as np
import pytest

pytest.importorskip('fastapi', reason='needs the extra web')
testclient = pytest.importorskip('starlette.testclient', reason='needs httpx')

from boneage_jax.imaging import boxes  # noqa: E402
from boneage_jax.imaging import limits  # noqa: E402
from boneage_jax.inference import basis  # noqa: E402
from boneage_jax.phantom import render  # noqa: E402
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


def reason(answer, status):
  """Why a request was refused, with a status."""
  assert answer.status_code == status, answer.text
  return answer.json()['detail']


CALIBRATION = {
  'score': 'absolute',
  'levels': [80, 90, 95],
  'temperature': 0,
  'groups': {'any': {'cuts': [], 'quantiles': [[10.0, 14.0, 18.0]]}},
}


class ShowingNets(FakeNets):
  """Fake nets that have more to show: a distribution, a heat map, a region."""

  calibration = CALIBRATION

  def __init__(self):
    super().__init__(batch_size=1)
    self.checks, self.basis = FakeChecks(0), BASIS

  def outputs(self, records):
    found, films = super().outputs(records)
    away = (np.arange(240) - found['age'][:, None]) / 8
    found['probability'] = np.exp(-(away**2) / 2)
    heat = np.outer(np.hanning(20), np.hanning(16)).astype(np.float32)
    for film in films:
      film.maps = [heat]
      film.regions = {'carpal': boxes.Region((0.3, 0.6, 0.7, 0.9), 0.5, True)}
    return found, films


def phantom(first):
  """A hand whose age is 100 months and its first pixel; 0 is refused."""
  film = render.make_film(3, 7, {'long_side': 320, 'age': 120})['image']
  film[0, 0] = first
  return cv2.imencode('.png', film)[1].tobytes()


@contextlib.contextmanager
def listening(at_once=16, found=None):
  """Yield the address of a server in another thread, of `ShowingNets`."""
  uvicorn = pytest.importorskip('uvicorn')
  allowed = settings_lib.Settings(at_once=at_once, megabytes=1)
  reader = reader_lib.Reader(
    found or ShowingNets(), limits.Limits(allowed.megapixels)
  )
  app = app_lib.create(reader, allowed, lambda line: None)
  with socket.create_server(('127.0.0.1', 0)) as bound:
    made = uvicorn.Server(
      uvicorn.Config(app, log_level='warning', lifespan='off', ws='none')
    )
    thread = threading.Thread(target=made.run, args=([bound],), daemon=True)
    thread.start()
    try:
      yield f'http://127.0.0.1:{bound.getsockname()[1]}'
    finally:
      made.should_exit = True
      thread.join()
      reader.close()
