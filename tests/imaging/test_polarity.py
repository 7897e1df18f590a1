"""The polarity check on phantoms, whose polarity is known."""

import json
import os

import numpy as np
import pytest

from boneage_jax import phantom
from boneage_jax.data import prepare
from boneage_jax.imaging import corruptions
from boneage_jax.imaging import polarity
from tfds_rsna import build


@pytest.fixture(scope='module')
def films():
  options = {'long_side': 160}
  return [phantom.make_film(i, 5, options)['image'] for i in range(40)]


def test_phantoms_are_told_from_their_negatives(films):
  for film in films:
    score = polarity.score(film)
    assert 0.1 < score <= 1
    assert polarity.score(255 - film) == pytest.approx(-score, abs=1e-3)
    assert polarity.looks_inverted(255 - film)
    assert not polarity.looks_inverted(film)


@pytest.mark.parametrize(
  'change',
  [
    np.rot90,
    lambda film: corruptions.border(film, 0.1, 255),
    lambda film: corruptions.border(film, 0.1, 0),
    lambda film: corruptions.marker(film, 0.2, np.random.default_rng(0)),
    lambda film: corruptions.tone(film, contrast=0.3),
    lambda film: np.kron(film, np.ones((4, 3), np.uint8)),
  ],
)
def test_frames_markers_tone_and_size_do_not_matter(films, change):
  for film in films[:10]:
    changed = np.ascontiguousarray(change(film))
    assert not polarity.looks_inverted(changed)
    assert polarity.looks_inverted(255 - changed)


def test_a_film_without_anything_is_not_inverted():
  assert polarity.score(np.full((30, 20), 200, np.uint8)) == 0
  assert not polarity.looks_inverted(np.zeros((1, 1), np.uint8))


def test_the_data_set_counts_films_that_look_inverted(tmp_path):
  manual = str(tmp_path / 'manual')
  phantom.write_archive(manual, 12, 3, long_side=96, inverted=0.4, workers=1)
  options = {'long_side': 96, 'inverted': 0.4}
  truth = []
  for i in range(12):
    film, plain = (
      phantom.make_film(i, 3, o)['image']
      for o in (options, options | {'inverted': 0})
    )
    if (film != plain).any():
      truth.append(str(i + 1))
  assert 0 < len(truth) < 12
  folder = build.build(manual, str(tmp_path / 'data'))
  with open(os.path.join(folder, 'build.json')) as file:
    info = json.load(file)
  assert info['looks_inverted'] == truth
  said = prepare.inverted(info)
  assert said.startswith(f'{len(truth)} of 12 films look inverted')
  assert 'input.polarity=invert' in said
