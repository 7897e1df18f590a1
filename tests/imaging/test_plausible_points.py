"""Points of hands that are plausible, and faults that are planted."""

import hand_points
from hand_points import FILM
from hand_points import HAND
import numpy as np
import pytest

from boneage_jax.imaging import plausible_points
from boneage_jax.imaging import registration

RIGHT = -1


def limits():
  made = hand_points.hands()
  return plausible_points.fit_limits(made, np.tile(FILM, (len(made), 1)))


@pytest.mark.parametrize(
  'row, place, name',
  [
    (1, (np.nan, np.nan), 'missing_point'),
    (1, HAND[0] + 0.1, 'points_together'),
    (2, HAND[1], 'points_together'),
    (2, (HAND[0] + HAND[1]) / 2, 'thumb_on_line'),
  ],
)
def test_points_that_say_no_transform_are_a_named_failure(row, place, name):
  hand = HAND.copy()
  hand[row] = place
  assert plausible_points.faults(hand, FILM, limits()) == (name,)
  with pytest.raises(ValueError, match=f'^{name}: expected middle_finger4'):
    registration.register(hand, FILM, RIGHT)


def test_hands_as_annotated_are_plausible():
  known = limits()
  found = [
    plausible_points.faults(hand, FILM, known)
    for hand in hand_points.hands(50, 1)
  ]
  assert sum(map(bool, found)) <= 2
  assert plausible_points.faults(HAND, FILM, known) == ()
  with pytest.raises(ValueError, match='got none of 2: mark them'):
    plausible_points.fit_limits(
      np.full((2, 3, 2), np.nan), np.tile(FILM, (2, 1))
    )


@pytest.mark.parametrize(
  'hand, names',
  [
    (HAND * 0.3, {'scale'}),
    (HAND[::-1], {'thumb_to_capitate', 'order'}),  # tip and thumb swapped
    (HAND[[1, 0, 2]], {'angle'}),  # upside down
    (np.array([*HAND[:2], [600.0, 200.0]]), {'thumb_to_tip'}),
    (np.array([*HAND[:2], [240.0, 450.0]]), {'order', 'thumb_to_capitate'}),
  ],
)
def test_planted_faults_are_named(hand, names):
  found = plausible_points.faults(hand, FILM, limits())
  assert names <= set(found) <= set(plausible_points.CHECKS)
  assert found == tuple(n for n in plausible_points.CHECKS if n in found)


def test_limits_of_few_films_are_wider():
  """Howe's factor against the share of hands that limits of 25 hold."""
  assert plausible_points.tolerance(25) == pytest.approx(1.342, abs=1e-3)
  assert plausible_points.tolerance(10**6) == pytest.approx(1, abs=2e-3)
  few = []
  for seed in range(20):
    marked = hand_points.hands(25, seed)
    known = plausible_points.fit_limits(marked, np.tile(FILM, (25, 1)))
    found = [
      plausible_points.faults(hand, FILM, known)
      for hand in hand_points.hands(50, 100 + seed)
    ]
    few.append(np.mean([bool(one) for one in found]))
  assert np.mean(few) < 0.02
