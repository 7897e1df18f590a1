"""H - log J against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.training.losses import segmentation

SHAPE = (3, 6, 5)  # one for all: every shape costs a compile


@jax.jit
def compiled(logits, mask):
  def total(logits):
    outputs, batch = {'mask': logits}, {'region_mask': mask}
    value, scalars = segmentation.segmentation(outputs, batch)
    return value.sum(), (value, scalars)

  (_, (value, scalars)), gradient = jax.value_and_grad(total, has_aux=True)(
    logits
  )
  return value, scalars, gradient


def loss(logits, mask):
  """Value and scalars of each film, and the gradient of their sum."""
  assert logits.shape == mask.shape == SHAPE
  return compiled(np.asarray(logits, np.float32), np.asarray(mask, np.uint8))


def by_hand(logits, mask):
  """The loss of one film, pixel by pixel as it is defined."""
  known = mask != 255
  y, p = (mask == 1)[known], 1 / (1 + np.exp(-logits[known]))
  entropy = -np.mean(np.where(y, np.log(p), np.log(1 - p)))
  if not y.any():
    return entropy
  overlap = ((y * p).sum() + 1) / ((y + p - y * p).sum() + 1)
  return entropy - np.log(overlap)


def films():
  """Logits and masks of three films: one has unknown pixels, one no hand."""
  rng = np.random.default_rng(0)
  logits, mask = rng.normal(0, 2, SHAPE), rng.integers(0, 2, SHAPE)
  mask[1, :2] = 255
  mask[2] = 0
  return logits, mask


def test_it_is_the_definition():
  logits, mask = films()
  value, scalars, _ = loss(logits, mask)
  expected = [by_hand(*film) for film in zip(logits, mask, strict=True)]
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  assert value.dtype == jnp.float32
  assert {v.shape for v in scalars.values()} == {(3,)}


def test_its_gradient_is_that_of_finite_differences():
  logits, mask = films()
  gradient = loss(logits, mask)[-1]
  step = 1e-5
  for place in [(0, 0, 0), (0, 3, 2), (1, 0, 1), (1, 4, 4), (2, 5, 0)]:
    ends = []
    for sign in (-1, 1):
      moved = logits.copy()
      moved[place] += sign * step
      ends.append(by_hand(moved[place[0]], mask[place[0]]))
    expected = (ends[1] - ends[0]) / (2 * step)
    np.testing.assert_allclose(gradient[place], expected, rtol=1e-3, atol=1e-6)


def test_a_sure_and_right_net_pays_nothing_and_a_wrong_one_a_finite_price():
  mask = np.zeros(SHAPE, int)
  mask[:, 2:5, 1:3] = 1
  sure = 1e4 * (2.0 * mask - 1)
  right, scalars, _ = loss(sure, mask)
  np.testing.assert_array_equal(right, 0)
  np.testing.assert_array_equal(scalars['soft_jaccard'], 1)
  value, _, gradient = loss(-sure, mask)
  # Each of 30 pixels is wrong by 1e4; common is the one pixel added, of 31.
  np.testing.assert_allclose(value, 1e4 + np.log(31), rtol=1e-6)
  # Every pixel is still pushed the right way.
  np.testing.assert_array_equal(np.sign(gradient), 1 - 2 * mask)


def test_dice_takes_the_place_of_the_jaccard():
  logits, mask = films()
  of_dice = lambda logits: segmentation.segmentation(
    {'mask': jnp.asarray(logits, jnp.float32)},
    {'region_mask': jnp.asarray(mask, jnp.uint8)},
    overlap='dice',
  )[0]
  value = of_dice(logits)
  for film in (0, 1, 2):
    known = mask[film] != 255
    y, p = (mask[film] == 1)[known], 1 / (1 + np.exp(-logits[film][known]))
    entropy = -np.mean(np.where(y, np.log(p), np.log(1 - p)))
    # One pixel is added to the overlap and to the union of both.
    both = (y * p).sum()
    dice = (2 * both + 2) / (y.sum() + p.sum() + 2)
    expected = entropy + (1 - dice if y.any() else 0)
    np.testing.assert_allclose(value[film], expected, rtol=1e-5)
  # No sigmoid of a sigmoid, of which even a sure net pays 0.31 and more.
  sure = of_dice(np.where(mask == 1, 30.0, -30.0))
  np.testing.assert_allclose(sure, 0, atol=1e-5)
  with pytest.raises(ValueError, match=r"'jaccard' or 'dice', got 'iou'"):
    segmentation.segmentation({}, {}, overlap='iou')


def test_a_film_without_a_known_pixel_pays_nothing():
  logits, _ = films()
  value, _, gradient = loss(logits, np.full(SHAPE, 255))
  assert not value.any() and not gradient.any()


@pytest.mark.parametrize(
  ('outputs', 'batch', 'message'),
  [
    ({'age': 1}, {'region_mask': 1}, r"gives a `mask` .* \['age'\] and \['r"),
    ({'mask': 1}, {'age': 1}, r'kinds of masks in input\.masks'),
    (
      {'mask': jnp.zeros((1, 4, 4))},
      {'region_mask': jnp.zeros((1, 4, 5))},
      r'in one size, got \(1, 4, 4\) and \(1, 4, 5\)',
    ),
  ],
)
def test_what_is_missing_is_named(outputs, batch, message):
  with pytest.raises(ValueError, match=message):
    segmentation.segmentation(outputs, batch)
