"""H - log J against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.training.losses import segmentation


def loss(logits, mask):
  logits, mask = jnp.asarray(logits, jnp.float32), jnp.asarray(mask, jnp.uint8)
  return segmentation.segmentation({'mask': logits}, {'region_mask': mask})


def by_hand(logits, mask):
  """The loss of one film, pixel by pixel as it is defined."""
  known = mask != 255
  y, p = (mask == 1)[known], 1 / (1 + np.exp(-logits[known]))
  entropy = -np.mean(np.where(y, np.log(p), np.log(1 - p)))
  if not y.any():
    return entropy
  overlap = ((y * p).sum() + 1) / ((y + p - y * p).sum() + 1)
  return entropy - np.log(overlap)


def films(seed=0):
  """Logits and masks of three films: one has unknown pixels, one no hand."""
  rng = np.random.default_rng(seed)
  logits = rng.normal(0, 2, (3, 6, 5))
  mask = rng.integers(0, 2, (3, 6, 5))
  mask[1, :2] = 255
  mask[2] = 0
  return logits, mask


def test_it_is_the_definition():
  logits, mask = films()
  value, scalars = loss(logits, mask)
  expected = [by_hand(*film) for film in zip(logits, mask, strict=True)]
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  assert value.dtype == jnp.float32
  assert {v.shape for v in scalars.values()} == {(3,)}


def test_its_gradient_is_that_of_finite_differences():
  logits, mask = films()
  gradient = jax.grad(lambda x: loss(x, mask)[0].sum())(
    jnp.asarray(logits, jnp.float32)
  )
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
  mask = np.zeros((1, 8, 8), int)
  mask[0, 2:6, 3:5] = 1
  sure = 1e4 * (2.0 * mask - 1)
  right, scalars = loss(sure, mask)
  np.testing.assert_allclose([right[0], scalars['soft_jaccard'][0]], [0, 1])
  value, gradient = jax.value_and_grad(lambda x: loss(x, mask)[0].sum())(
    jnp.asarray(-sure, jnp.float32)
  )
  # Of 64 pixels each is wrong by 1e4; nothing is in common but one pixel of 65.
  np.testing.assert_allclose(value, 1e4 + np.log(65), rtol=1e-6)
  assert np.isfinite(gradient).all()
  # Every pixel is pushed the right way still.
  np.testing.assert_array_equal(np.sign(gradient), 1 - 2 * mask)


def test_a_film_without_a_known_pixel_pays_nothing():
  value, gradient = jax.value_and_grad(
    lambda x: loss(x, np.full((1, 4, 4), 255))[0].sum()
  )(jnp.ones((1, 4, 4)))
  assert value == 0 and not gradient.any()


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
