"""Films by REST: answers, refusals and limits."""

import asyncio
import base64
import io
import json
import re
import zlib

import cv2
import dicom_film
import numpy as np
import pytest
import server
from starlette import requests

from boneage_jax import predict
from boneage_jax.inference import film_list
from boneage_jax.inference import quality
from boneage_jax.serve import form
from boneage_jax.serve import gate
from boneage_jax.serve import refusals
from boneage_jax.serve import settings as settings_lib
from boneage_jax.serve import words


@pytest.fixture(scope='module')
def served():
  with server.served(films=3, megabytes=1) as made:
    yield made


@pytest.fixture
def browser(served):
  return served[0]


def reason(answer, status):
  assert answer.status_code == status, answer.text
  return answer.json()['detail']


def test_ages_come_in_the_order_of_the_films(browser):
  films = [server.png(7), server.png(9), server.png(30)]
  answer = server.ask(browser, *films, sex=['F', 'M', 'unknown'])
  assert answer.status_code == 200
  first, second, third = answer.json()
  # 100 months, the first pixel, and one more for boys, one less for girls.
  assert [one['age_predicted'] for one in (first, second, third)] == [
    *(106.0, 110.0, 130.0)
  ]
  assert (third['age_if_male'], third['age_if_female']) == (131.0, 129.0)
  assert first['age_if_male'] is None and first['pictures'] is None
  assert first['status'] == quality.OK and first['lo90'] is None
  assert answer.headers['cache-control'] == 'no-store'
  one = server.ask(browser, films[0], films[1], sex='M').json()
  assert [film['sex'] for film in one] == ['M', 'M']


def test_a_refused_film_has_no_age_and_says_why(browser):
  (film,) = server.ask(browser, server.png(0), sex='unknown').json()
  assert film['status'] == quality.REFUSED
  assert film['quality_flags'] == 'blank'
  for name in ('age_predicted', 'age_if_male', 'age_if_female', 'probability'):
    assert film[name] is None
  assert quality.SENTENCES['blank'] in film['messages']


def test_pictures_come_when_they_are_wanted(browser):
  film = server.png(50, (300, 200))
  (found,) = server.ask(browser, film, pictures='true').json()
  head, _, data = found['pictures']['film'].partition(',')
  assert head == 'data:image/png;base64'
  picture = cv2.imdecode(
    np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED
  )
  assert picture.shape == (440, 293)
  assert found['pictures']['heat'] is None


def test_names_of_films_are_made_safe(browser):
  films = [('=1+1.png', server.png()), ('a\x1b[31m\u202e.png', server.png())]
  found = [one['file'] for one in server.ask(browser, *films).json()]
  assert found == ['=1+1.png', 'a\\x1b[31m\\u202e.png']


def test_a_dicom_film_says_its_own_and_no_name(browser):
  data = dicom_film.encoded(
    PatientSex='M', PatientName='Miller^Ann', PatientID='77', PatientAge='010Y'
  )
  answer = server.ask(browser, ('hand.dcm', data), sex='F')
  (film,) = answer.json()
  assert 'the header says sex M; F was given and is used' in film['messages']
  assert film['chronological_age'] == pytest.approx(126, abs=0.1)
  assert 'Miller' not in answer.text and '77' not in answer.text


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
  assert said in reason(answer, 422)


def test_what_is_no_film_is_named(browser):
  answer = server.ask(browser, server.png(), ('notes.txt', b'hello'))
  assert reason(answer, 415).startswith('notes.txt: expected PNG')
  assert reason(server.ask(browser, b''), 415)
  cut = server.png()[:-30]
  assert 'hand.png: Truncated PNG' in reason(server.ask(browser, cut), 422)
  blank = cv2.imencode('.png', np.zeros((9, 9), np.uint8))[1].tobytes()
  assert 'Blank image' in reason(server.ask(browser, blank), 422)


def test_a_film_of_too_many_pixels_is_too_large(browser):
  head = bytearray(server.png())
  head[16:24] = (60000).to_bytes(4, 'big') * 2
  head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, 'big')
  said = reason(server.ask(browser, bytes(head)), 413)
  assert '3600 megapixels' in said and '--' not in said


def test_the_size_of_a_body_is_limited_however_it_is_sent(browser):
  films = [('file', ('a.png', bytes(600_000)))] * 2
  answer = browser.post('/predict', files=films, data={'sex': 'F'})
  assert 'at most 1 megabytes' in reason(answer, 413)

  def pieces():  # without a length
    yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"'
    yield b'\r\n\r\n'
    for _ in range(30):
      yield bytes(50_000)

  headers = {'content-type': 'multipart/form-data; boundary=x'}
  answer = browser.post('/predict', content=pieces(), headers=headers)
  assert 'at most 1 megabytes' in reason(answer, 413)


def test_films_are_counted(browser):
  for count in (4, 5, 40):
    answer = server.ask(browser, *[server.png()] * count)
    assert reason(answer, 422)


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
  assert reason(answer, status)


def test_pictures_are_true_or_false(browser):
  assert reason(server.ask(browser, server.png(), pictures='yes'), 422)


def test_the_answer_is_the_row_of_predict(browser, monkeypatch):
  (film,) = server.ask(browser, server.png(12), sex='unknown').json()
  out = io.StringIO()
  monkeypatch.setattr(film_list.Archives, 'read', lambda *_: server.png(12))
  monkeypatch.setattr('sys.stdout', out)
  assert not predict.predict_films(
    server.nets(), ['hand.png'], 'unknown', None, view='jsonl'
  )
  line = json.loads(out.getvalue())
  assert line['age_predicted'] == 112.0
  assert line == {name: film[name] for name in line}


def test_nothing_of_a_film_is_logged(served):
  browser, lines = served
  lines.clear()
  server.ask(browser, ('Miller_Ann.png', server.png()))
  server.ask(browser, ('Miller_Ann.txt', b'x'))
  browser.get('/Miller?name=Ann')
  browser.get('/health?name=Ann')
  assert [line.rpartition(' ')[0].rpartition(' ')[0] for line in lines] == [
    *('POST /predict 200', 'POST /predict 415', 'GET - 404', 'GET /health 200')
  ]


def test_a_fault_says_where_and_nothing_of_the_film():
  bad = server.nets(bad=7, error=KeyError('Miller^Ann'))
  with server.served(bad) as (browser, lines):
    said = reason(server.ask(browser, server.png(7)), 500)
    assert said == refusals.FAULT.reason
    assert server.ask(browser, server.png(8)).status_code == 200
  assert lines[0].startswith('fault: KeyError at ')
  assert 'Miller' not in ' '.join(lines)


def test_nets_of_one_sex_read_no_other():
  girls = server.nets()
  girls.sexes = ('F',)
  with server.served(girls) as (browser, _):
    for sex in ('M', 'unknown'):
      said = reason(server.ask(browser, server.png(), sex=sex), 422)
      assert 'expected the sex F' in said
    assert server.ask(browser, server.png()).status_code == 200


def test_version_says_what_ages_rest_on(browser):
  found = browser.get('/version').json()
  assert found['method'] == 'made:up, assessor'
  assert found['synthetic'] and 'meaningless' in found['trained_on']
  assert found['limits']['films'] == 3
  assert browser.get('/health').json() == {'status': 'ok', 'waiting': 0}


def test_the_interface_is_described_without_other_hosts(browser):
  found = browser.get('/openapi.json').json()
  said = found['paths']['/predict']['post']
  assert {'200', '413', '415', '422', '429'} <= set(said['responses'])
  assert found['components']['schemas']['Film']['examples']
  for path in ('/docs', '/redoc'):
    assert browser.get(path).status_code == 404


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


@pytest.mark.parametrize('inverted', [False, True])
def test_sentences_for_people_name_no_flags_of_commands(inverted):
  flags = {
    *quality.SENTENCES,
    *quality.OF_FILE,
    *('sharpness', 'registration', 'polarity'),
  }
  for flag in sorted(flags):
    assert '--' not in words.sentence(flag, inverted), flag


def test_the_atlas_draws_hands_and_names_what_changes(browser):
  changes = browser.get('/atlas/M/70').json()
  named = {(one['centre'], one['what']): one['month'] for one in changes}
  assert named['trapezium', 'appears'] == 71
  assert all(0 < one['x'] < 1 and 0 < one['y'] < 1 for one in changes)
  answer = browser.get('/atlas/M/70/hand.png')
  assert answer.headers['content-type'] == 'image/png'
  hand = cv2.imdecode(
    np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED
  )
  assert hand.shape[0] == 640 and hand.ndim == 2
  for place in ('M/0', 'M/229', 'unknown/70', 'm/70', 'M/7.5', 'M/x/hand.png'):
    assert isinstance(reason(browser.get(f'/atlas/{place}'), 422), str)


def test_the_page_says_what_it_rests_on_and_asks_no_other_host(browser):
  page = browser.get('/')
  assert 'ages of real films are meaningless' in page.text
  assert '12 &lt;films&gt;' in page.text  # escaped
  own = re.findall(r'(?:href|src)="([^"#]+)"', page.text)
  assert len(own) >= 6
  for place in own:
    answer = browser.get(f'/{place}')
    assert answer.status_code == 200, place
    assert not re.search(r'https?://(?!www\.w3\.org/)', answer.text), place
  assert '<style' not in page.text and ' style=' not in page.text
  for place in ('none.css', '..%2fapp.py', '%00'):
    assert browser.get(f'/static/{place}').status_code == 404
