"""Films by REST: what is refused, and where limits lie."""

import asyncio
import base64
import zlib

import cv2
import numpy as np
import pytest
import server
from starlette import requests

from boneage_jax.serve import form
from boneage_jax.serve import gate
from boneage_jax.serve import refusals
from boneage_jax.serve import settings as settings_lib


@pytest.mark.parametrize(
  ('sexes', 'said'),
  [
    ([], '0 fields sex for 2 films'),
    (['M', 'F', 'F'], '3 fields sex for 2 films'),
    (['m', 'F'], "a sex of 'm'"),
    ([''], "a sex of ''"),
  ],
)
def test_the_sex_is_never_guessed(browser, sexes, said):
  answer = server.ask(browser, server.png(), server.png(), sex=sexes)
  assert said in server.reason(answer, 422)


def test_what_is_no_film_is_named(browser):
  answer = server.ask(browser, server.png(), ('notes.txt', b'hello'))
  assert server.reason(answer, 415).startswith('notes.txt: expected PNG')
  assert server.reason(server.ask(browser, b''), 415)
  cut = server.png()[:-30]
  assert 'hand.png: Truncated PNG' in server.reason(
    server.ask(browser, cut), 422
  )
  blank = cv2.imencode('.png', np.zeros((9, 9), np.uint8))[1].tobytes()
  assert 'Blank image' in server.reason(server.ask(browser, blank), 422)


def test_a_film_of_too_many_pixels_is_too_large(browser):
  head = bytearray(server.png())
  head[16:24] = (60000).to_bytes(4, 'big') * 2
  head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, 'big')
  said = server.reason(server.ask(browser, bytes(head)), 413)
  assert '3600 megapixels' in said and '--' not in said


def test_the_size_of_a_body_is_limited_however_it_is_sent(browser):
  films = [('file', ('a.png', bytes(600_000)))] * 2
  answer = browser.post('/predict', files=films, data={'sex': 'F'})
  assert 'at most 1 megabytes' in server.reason(answer, 413)

  def pieces():  # without a length
    yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"'
    yield b'\r\n\r\n'
    for _ in range(30):
      yield bytes(50_000)

  headers = {'content-type': 'multipart/form-data; boundary=x'}
  answer = browser.post('/predict', content=pieces(), headers=headers)
  assert 'at most 1 megabytes' in server.reason(answer, 413)


def test_films_are_counted(browser):
  for count in (4, 5, 40):
    answer = server.ask(browser, *[server.png()] * count)
    assert server.reason(answer, 422)


@pytest.mark.parametrize(
  ('kind', 'body', 'status'),
  [
    ('application/json', b'{}', 415),
    ('', b'', 415),
    ('multipart/form-data', b'', 422),
    ('multipart/form-data; boundary=x', b'', 422),
    ('multipart/form-data; boundary=x', b'--y\r\n', 422),
    ('multipart/form-data; boundary=x', b'--x\r\n\r\n\r\n--x--', 422),
    (
      'multipart/form-data; boundary=x',
      b'--x\r\nContent-Disposition: form-data; name=file\r\n\r\na\r\n--x--',
      422,
    ),
    (
      'multipart/form-data; boundary=x',
      b'--x\r\nContent-Disposition: form-data; name=q\r\n\r\na\r\n--x--',
      422,
    ),
    (
      'multipart/form-data; boundary=x; charset=\xe4'.encode('latin-1'),
      b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\na\r\n--x--',
      422,
    ),
  ],
)
def test_a_body_that_is_no_form_is_refused(browser, kind, body, status):
  headers = {'content-type': kind}
  answer = browser.post('/predict', content=body, headers=headers)
  assert server.reason(answer, status)


def test_pictures_are_true_or_false(browser):
  assert server.reason(server.ask(browser, server.png(), pictures='yes'), 422)


def test_nets_of_one_sex_read_no_other():
  girls = server.nets()
  girls.sexes = ('F',)
  with server.served(girls) as (browser, _):
    for sex in ('M', 'unknown'):
      said = server.reason(server.ask(browser, server.png(), sex=sex), 422)
      assert 'expected the sex F' in said
    assert server.ask(browser, server.png()).status_code == 200


def test_hosts_pages_and_tokens_are_checked():
  with server.served(token='word', hosts=frozenset({'own.org'})) as (
    browser,
    _,
  ):
    assert browser.get('/health').status_code == 200
    assert browser.get('/version').status_code == 401
    asked = browser.get('/version').headers['www-authenticate']
    assert asked.startswith('Basic ')
    good = [
      ('authorization', 'Bearer word'),
      ('authorization', 'Basic ' + base64.b64encode(b'a:word').decode()),
    ]
    for name, value in good:
      assert browser.get('/version', headers={name: value}).status_code == 200
    for value in ('Bearer no', 'Basic !', 'word', 'Basic d29yZA=='):
      headers = {'authorization': value}
      assert browser.get('/version', headers=headers).status_code == 401
    for host, status in (
      ('own.org:80', 200),
      ('127.0.0.1:8000', 200),
      ('[::1]:8000', 200),
      ('evil.org', 400),
      ('10.0.0.5', 400),
      ('', 400),
    ):
      answer = browser.get('/health', headers={'host': host})
      assert answer.status_code == status, host
    for origin, status in (
      ('http://localhost', 200),
      ('https://evil.org', 403),
      ('null', 403),
    ):
      answer = browser.get('/health', headers={'origin': origin})
      assert answer.status_code == status, origin
    policy = browser.get('/health').headers['content-security-policy']
    assert policy.startswith("default-src 'self'; img-src 'self' data: blob:")
  with server.served(addresses=True) as (browser, _):
    for host, status in (('10.0.0.5:80', 200), ('evil.org', 400)):
      answer = browser.get('/health', headers={'host': host})
      assert answer.status_code == status


def test_the_gate_counts_and_says_when_to_come_again():
  made = gate.Gate(2)
  with made.enter(), made.enter():
    with pytest.raises(refusals.RefusedError) as found, made.enter():
      pass
    assert found.value.status == 429
    assert int(found.value.headers['Retry-After']) >= 1
  assert made.inside == 0
  with made.enter():
    assert made.inside == 1


def test_a_slow_body_is_cut_off(monkeypatch):
  monkeypatch.setattr(form, 'SLOWEST', 1000)
  pieces = iter([b'--x\r\nContent-Disposition: form-data; name="sex"\r\n\r\n'])

  async def receive():
    await asyncio.sleep(0.02)
    body = next(pieces, b'M')  # 50 bytes a second
    return {'type': 'http.request', 'body': body, 'more_body': True}

  kind = (b'content-type', b'multipart/form-data; boundary=x')
  scope = {'type': 'http', 'headers': [kind]}
  request = requests.Request(scope, receive)
  allowed = settings_lib.Settings(body_seconds=0.1)
  with pytest.raises(refusals.RefusedError) as found:
    asyncio.run(form.read(request, allowed))
  assert found.value.status == 408
  assert found.value.headers == {'Connection': 'close'}
