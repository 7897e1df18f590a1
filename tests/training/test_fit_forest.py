"""Settings of forests that are refused, and figures of rounds."""

import numpy as np
import pytest

from boneage_jax.core import stages
from boneage_jax.regions import patches
from boneage_jax.training import fit_forest
from boneage_jax.training import forest_rounds
from configs import forest as forest_config


@pytest.mark.parametrize(
  ('stage', 'field', 'value'),
  [
    ('forest', 'landmarks', 'joints'),
    ('forest', 'votes.weighting', 'near'),
    ('forest', 'votes.passes', 0),
    ('forest', 'pixels_per_landmark', 0),
    ('forest', 'votes.sigma', 0.0),
    ('forest', 'trees', 0),
    ('forest', 'input.size', 4),
    ('rounds', 'train_films', 0),
  ],
)
def test_settings_that_are_refused(stage, field, value):
  config = forest_config.get_config('phantom')
  fit_forest.check(stages.Stage(config, stage, ''))
  config[stage].update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=rf'^Expected {stage}.{field}'):
    fit_forest.check(stages.Stage(config, stage, ''))


def test_patches_are_about_landmarks_of_their_forest():
  config = forest_config.get_config('age,phantom')
  patches.check(stages.Stage(config, 'patches', ''))
  config.patches.regions = ('wrist', 'Radius')
  with pytest.raises(ValueError, match=r'^Expected patches.regions .* Radius'):
    patches.check(stages.Stage(config, 'patches', ''))
  config = forest_config.get_config('age,ossification,phantom')
  patches.check(stages.Stage(config, 'patches', ''))


def test_films_of_one_hand_do_not_train_and_judge():
  rng = np.random.default_rng(0)
  hands = np.array([f'h{k // 3}' for k in range(30)])
  films = {'id': np.arange(30).astype(str), 'study': hands}
  lengths = set()
  for _ in range(20):
    train, test = forest_rounds.draw(films, 20, 10, rng)
    assert len(train) == 20 and not {*hands[train]} & {*hands[test]}
    lengths.add(len(test))
  assert lengths == {9}  # one hand stood on both sides
  train, test = forest_rounds.draw(films, 17, 10, rng)
  assert len(test) == 10  # of the twelve that are of other hands
  with pytest.raises(ValueError, match='of the 28 that train, got none'):
    forest_rounds.draw(films, 28, 2, rng)
  del films['study']
  train, test = forest_rounds.draw(films, 20, 10, rng)
  assert sorted([*train, *test]) == list(range(30))


def test_figures_are_of_rounds():
  rows = [
    dict(
      round=number,
      id=film,
      landmark=name,
      weighting=weighting,
      passes=passes,
      error_percent=error * (2 if weighting == 'none' else 1) + passes,
      error_px=0,
    )
    for weighting in ('none', 'distance')
    for passes in (1, 2)
    for number, film, name, error in [
      ('0', 'a', 'wrist', 1),
      ('0', 'a', 'tip', 30),
      ('0', 'b', 'wrist', 3),
      ('0', 'b', 'tip', 5),
      ('1', 'c', 'wrist', 20),
      ('1', 'c', 'tip', 40),
    ]
  ]
  figures = forest_rounds.summarize(rows)
  of = figures['distance, pass 2']
  assert of['wrist']['mean'][0] == pytest.approx((4 + 22) / 2)
  assert of['all']['mean'][0] == pytest.approx((47 / 4 + 64 / 2) / 2)
  assert of['all']['median'][0] == pytest.approx((6 + 32) / 2)
  assert of['all']['outliers'][0] == pytest.approx((1 / 4 + 1) / 2)
  # One of film a, none of b; two of c: the most is 1 and 2.
  assert of['all']['most_outliers_on_a_film'][0] == pytest.approx(1.5)
  assert figures['none, pass 1']['tip']['mean'][0] == pytest.approx(
    ((61 + 11) / 2 + 81) / 2
  )
