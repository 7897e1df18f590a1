"""What changes about a bone age, and hands without deviations of their own."""

import numpy as np

from boneage_jax.phantom import anatomy
from boneage_jax.phantom import render
from boneage_jax.phantom import schedule


def test_changes_are_those_of_the_schedule_in_their_order():
  # Of boys, Garn 1967: the trapezium and the scaphoid follow each other.
  found = schedule.changes(65, 72, male=True)
  assert [(one.month, one.centre, one.what) for one in found] == [
    (68, 'scaphoid', 'appears'),
    (71, 'trapezium', 'appears'),
  ]
  whole = schedule.changes(0, anatomy.OLDEST, male=False)
  assert len(whole) == 2 * len(anatomy.CARPALS) + 4 * len(anatomy.EPIPHYSES)
  months = [one.month for one in whole]
  assert months == sorted(months)
  assert not schedule.changes(223, 228, male=True)


def test_centres_have_names():
  each = [*anatomy.CARPALS, *anatomy.EPIPHYSES]
  names = [schedule.name(centre) for centre in each]
  assert len(set(names)) == len(each)
  assert schedule.name('dp1') == 'distal phalanx of the thumb'
  assert schedule.name('mp4') == 'middle phalanx of the ring finger'
  assert schedule.name('ulna') == 'distal ulna'


def bright(film, centre):
  """How bright a centre is against what lies about it."""
  image = film['image'].astype(float)
  x, y = film['centres'][centre] * image.shape[::-1]
  rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
  away = np.hypot(rows - y, columns - x)
  return image[away < 3].mean() - image[(away > 6) & (away < 10)].mean()


def test_a_median_hand_shows_what_its_age_says():
  options = {'long_side': 640, 'male': True, 'median': True}
  at = lambda age: render.make_film(3, 7, options | {'age': age})
  # The lunate appears at 49 months; in other hands some time about it.
  before, after = at(48), at(60)
  assert bright(after, 'lunate') > bright(before, 'lunate') + 5
  np.testing.assert_allclose(
    before['centres']['lunate'], after['centres']['lunate'], atol=0.03
  )
