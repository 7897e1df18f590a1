"""The page and the atlas without a browser."""

import re

import cv2
import numpy as np
import pytest
import server

from boneage_jax.inference import quality
from boneage_jax.serve import words


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
    assert isinstance(server.reason(browser.get(f'/atlas/{place}'), 422), str)


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
