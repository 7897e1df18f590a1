"""Measures of masks that were drawn on purpose."""

import dataclasses

import numpy as np
import pytest

from boneage_jax.imaging import mask_quality


def disc(radius=30.3, band=0.0, centre=(50, 60), shape=(112, 112)):
  """A disc whose probability falls from 1 to 0 over `band` pixels."""
  y, x = np.indices(shape)
  distance = np.hypot(y - centre[0], x - centre[1]) - radius
  return np.clip(0.5 - distance / max(band, 1e-6), 0, 1)


GOOD = mask_quality.measure(disc(), disc())
LIMITS = mask_quality.Limits((0.1, 0.4), 0.97, 0.9, 4.0)


def test_a_disc_measures_what_geometry_says():
  assert GOOD.area == pytest.approx(np.pi * 30.3**2 / 112**2, rel=0.01)
  assert (GOOD.component, GOOD.mirror_iou, GOOD.undecided) == (1, 1, 0)
  assert not mask_quality.reason(GOOD, LIMITS)


@pytest.mark.parametrize('radius', [15.0, 30.0])
@pytest.mark.parametrize('band', [5.0, 10.0])
def test_the_undecided_band_does_not_depend_on_the_size(radius, band):
  one = disc(radius, band)
  width = mask_quality.measure(one, one).undecided
  # 0.1 to 0.9 is four fifths of the band; the outline lies within the disc.
  assert width == pytest.approx(0.8 * band, rel=0.12)


def test_a_moved_mirror_image_has_the_overlap_of_two_discs():
  shift, radius = 12, 30.0
  moved = disc(radius, centre=(50, 60 + shift))
  half = shift / 2
  lens = 2 * radius**2 * np.arccos(half / radius)
  lens -= shift / 2 * np.sqrt(4 * radius**2 - shift**2)
  union = 2 * np.pi * radius**2 - lens
  found = mask_quality.measure(disc(radius), moved)
  assert found.mirror_iou == pytest.approx(lens / union, rel=0.02)
  # One half is not inside: the mean of both maps is their lens.
  assert found.area == pytest.approx(lens / 112**2, rel=0.02)


@pytest.mark.parametrize(
  ('changed', 'wanted'),
  [
    (dict(area=0.0), 'no hand found'),
    (dict(area=0.05), 'too small'),
    (dict(area=0.5), 'too large'),
    (dict(component=0.9), 'several parts'),
    (dict(mirror_iou=0.8), 'another mask when mirrored'),
    (dict(undecided=5.0), 'undecided outline'),
  ],
)
def test_a_refused_mask_has_its_reason(changed, wanted):
  one = dataclasses.replace(GOOD, **changed)
  reason = mask_quality.reason(one, LIMITS)
  assert reason == wanted
  assert mask_quality.usable(reason) == (wanted == 'undecided outline')


def test_two_hands_and_an_empty_map_are_refused():
  two = np.maximum(disc(20, centre=(30, 30)), disc(20, centre=(80, 80)))
  measured = mask_quality.measure(two, two)
  assert measured.component == pytest.approx(0.5, abs=0.01)
  assert mask_quality.reason(measured, LIMITS) == 'several parts'
  nothing = mask_quality.measure(np.zeros((9, 9)), np.zeros((9, 9)))
  assert mask_quality.reason(nothing, LIMITS) == 'no hand found'


def test_limits_come_from_labelled_films():
  judged = [dataclasses.replace(GOOD, undecided=width) for width in range(101)]
  found = mask_quality.limits([0.2, 0.3], judged)
  assert found.area == pytest.approx((0.16, 0.375))
  assert found.undecided == 95
  with pytest.raises(ValueError, match=r'got 0 and 101: outline 50'):
    mask_quality.limits([], judged)
