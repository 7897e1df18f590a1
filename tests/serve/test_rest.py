"""Films by REST: what is answered."""

import base64
import io
import json

import cv2
import dicom_film
import numpy as np
import pytest
import server

from boneage_jax import predict
from boneage_jax.inference import film_list
from boneage_jax.inference import quality
from boneage_jax.serve import refusals


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
    said = server.reason(server.ask(browser, server.png(7)), 500)
    assert said == refusals.FAULT.reason
    assert server.ask(browser, server.png(8)).status_code == 200
  assert lines[0].startswith('fault: KeyError at ')
  assert 'Miller' not in ' '.join(lines)


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


def test_numbers_that_nets_read_are_fields():
  found = server.nets()
  found.inputs = ('chronological_age',)
  films = (server.png(5), server.png(6))
  with server.served(found, films=3) as (browser, _):
    assert browser.get('/version').json()['inputs'] == ['chronological_age']
    assert (
      '<input type="number" name="chronological_age"' in browser.get('/').text
    )
    answer = server.ask(browser, *films, chronological_age=['20', '30.5'])
    ages = [film['chronological_age'] for film in answer.json()]
    assert ages == [20, 30.5]
    answer = server.ask(browser, *films, chronological_age=['20', ''])
    assert 'hand.png: The chronological_age (months) is not' in server.reason(
      answer, 422
    )
    answer = server.ask(browser, *films, chronological_age='-3')
    assert "chronological_age '-3', not a number" in server.reason(answer, 422)
    answer = server.ask(browser, *films, chronological_age=['1', '2', '3'])
    assert '3 fields chronological_age for 2' in server.reason(answer, 422)
