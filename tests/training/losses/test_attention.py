"""Attention guided by masks, against the formulas of Liao 2022."""

import cv2
import jax
from jax import numpy as jnp
import numpy as np
import pytest

from boneage_jax.training.losses import age as age_losses
from boneage_jax.training.losses import attention as attention_losses

GRID = jnp.array([[8.0, 4.0], [8.0, 4.0]])  # a map of 6 x 6 over 48 pixels
SIZE = 48


def outputs_of(maps, **more):
  return {'maps': jnp.asarray(maps, jnp.float32), 'grid': GRID, **more}


def batch_of(mask, valid=None, **more):
  mask = np.asarray(mask, np.uint8)
  valid = np.ones(len(mask)) if valid is None else valid
  return {
    'region_mask': jnp.asarray(mask),
    'valid': jnp.asarray(valid, jnp.float32),
    **more,
  }


def mean(values, batch):
  valid = np.asarray(batch['valid'])
  return float((np.asarray(values) * valid).sum() / valid.sum())


def random_maps(count=3, classes=1, seed=0):
  return np.random.default_rng(seed).normal(size=(count, 6, 6, classes)) * 2


def squares(*sides):
  """Masks of so many positions a side, from one corner; 0 is unknown."""
  masks = np.zeros((len(sides), SIZE, SIZE), np.uint8)
  for mask, side in zip(masks, sides, strict=True):
    mask[: 8 * side, : 8 * side] = 1
    if not side:
      mask[:] = 255
  return masks


def log_softmax(maps):
  total = np.exp(maps).sum((1, 2), keepdims=True)
  return maps - np.log(total)


def by_hand(maps, sides, normalise):
  log_a = log_softmax(maps)
  sums = [-log_a[i, :s, :s].sum() for i, s in enumerate(sides)]
  places = np.array([s * s * maps.shape[-1] for s in sides])
  if normalise == 'per_pixel':
    return sum(sums) / max(places.sum(), 1)
  means = [x / n for x, n in zip(sums, places, strict=True) if n]
  return np.mean(means) if means else 0.0


@pytest.mark.parametrize('normalise', attention_losses.NORMALISERS)
@pytest.mark.parametrize(
  'sides', [(2, 3, 4), (1, 0, 6), (0, 0, 2), (0, 0, 0), (3, 3, 3)]
)
@pytest.mark.parametrize('classes', [1, 4])
def test_the_loss_is_the_published_mean(normalise, sides, classes):
  maps, batch = random_maps(classes=classes), batch_of(squares(*sides))
  loss, scalars = attention_losses.attention_guidance(
    outputs_of(maps), batch, normalise
  )
  assert loss.shape == (3,) and loss.dtype == jnp.float32
  expected = by_hand(maps, sides, normalise)
  assert mean(loss, batch) == pytest.approx(expected, rel=1e-4)
  marked = np.mean([s > 0 for s in sides])
  assert mean(scalars['guided_films'], batch) == pytest.approx(marked)


def test_normalisers_agree_where_all_masks_are_of_one_size_only():
  """G9."""
  maps = outputs_of(random_maps())
  for sides, same in (((2, 2, 2), True), ((1, 2, 4), False)):
    batch = batch_of(squares(*sides))
    values = [
      mean(attention_losses.attention_guidance(maps, batch, n)[0], batch)
      for n in attention_losses.NORMALISERS
    ]
    assert (values[0] == pytest.approx(values[1], rel=1e-5)) == same


@pytest.mark.parametrize('side', [1, 3, 6])
@pytest.mark.parametrize('normalise', attention_losses.NORMALISERS)
def test_attention_uniform_on_the_mask_costs_the_log_of_its_size(
  side, normalise
):
  """H8; and nothing costs less."""
  maps = np.full((1, 6, 6, 1), -40.0)
  maps[:, :side, :side] = 3.0
  batch = batch_of(squares(side))
  cost = lambda maps: mean(
    attention_losses.attention_guidance(outputs_of(maps), batch, normalise)[0],
    batch,
  )
  assert cost(maps) == pytest.approx(np.log(side * side), abs=1e-4)
  for seed in range(5):
    assert cost(maps + random_maps(1, seed=seed)) >= cost(maps) - 1e-4


@pytest.mark.parametrize('resample', attention_losses.RESAMPLERS)
@pytest.mark.parametrize('normalise', attention_losses.NORMALISERS)
@pytest.mark.parametrize('value', [0, 255])
def test_empty_masks_cost_nothing_and_move_nothing(value, normalise, resample):
  """H8, for masks without a position inside and for films without a mask."""
  batch = batch_of(np.full((3, SIZE, SIZE), value))

  def total(maps):
    return attention_losses.attention_guidance(
      outputs_of(maps), batch, normalise, resample
    )[0].sum()

  value, gradient = jax.value_and_grad(total)(jnp.asarray(random_maps()))
  assert value == 0 and not np.asarray(gradient).any()


@pytest.mark.parametrize('resample', attention_losses.RESAMPLERS)
def test_films_without_a_mask_weigh_nothing(resample):
  """Loss and gradient of the others are as if they were not there."""
  maps, masks = random_maps(4), squares(2, 0, 5, 0)

  def total(maps, masks):
    batch = batch_of(masks)
    loss, _ = attention_losses.attention_guidance(
      outputs_of(maps), batch, resample=resample
    )
    return loss.mean()

  grad = jax.value_and_grad(total)
  value, gradient = grad(jnp.asarray(maps), masks)
  alone, of_those = grad(jnp.asarray(maps[::2]), masks[::2])
  assert value == pytest.approx(float(alone), rel=1e-5)
  np.testing.assert_allclose(gradient[::2], of_those, rtol=1e-4, atol=1e-7)
  assert not np.asarray(gradient[1::2]).any()


def test_unknown_pixels_weigh_nothing():
  maps, masks = outputs_of(random_maps(1)), squares(3)
  batch = batch_of(np.where(masks == 1, masks, 255))
  loss, _ = attention_losses.attention_guidance(maps, batch)
  same, _ = attention_losses.attention_guidance(maps, batch_of(masks))
  np.testing.assert_array_equal(loss, same)


def test_padding_weighs_nothing():
  maps, masks = random_maps(3), squares(2, 4, 6)
  part = batch_of(masks, valid=[1, 1, 0])
  loss, _ = attention_losses.attention_guidance(outputs_of(maps), part)
  whole = batch_of(masks[:2])
  alone, _ = attention_losses.attention_guidance(outputs_of(maps[:2]), whole)
  assert mean(loss, part) == pytest.approx(mean(alone, whole), rel=1e-5)


def test_bins_are_guided_about_the_true_age():
  rng = np.random.default_rng(2)
  maps = rng.normal(size=(2, 6, 6, 240))
  batch = batch_of(squares(2, 3), age=jnp.array([100.0, 2.0]))
  outputs = outputs_of(maps, age=jnp.array([30.0, 200.0]))  # the estimate
  loss, _ = attention_losses.attention_guidance(outputs, batch)
  window = np.stack(
    [maps[0, :, :, 95:105].mean(-1), maps[1, :, :, :7].mean(-1)]
  )
  expected = by_hand(window[..., None], (2, 3), 'per_pixel')
  assert mean(loss, batch) == pytest.approx(expected, rel=1e-4)


def test_masks_are_read_at_the_centres_of_the_positions():
  """Inception's lie inside of where an even grid would have them."""
  grid = jnp.array([[8.0, 11.5], [16.0, 4.5]])  # 11.5 to 35.5, 4.5 to 52.5
  mask = np.zeros((1, SIZE, SIZE + 16), np.uint8)
  mask[0, 11, 36] = mask[0, 35, 52] = 1
  found = np.asarray(attention_losses.at_positions(mask, grid, (4, 5)))[0]
  assert found.shape == (4, 5)
  assert found.sum() == 2 and found[0, 2] and found[3, 3]


def test_enlarging_is_the_usual_bicubic():
  maps = random_maps(2, 3).astype(np.float32)
  grid = jnp.array([[8.0, 4.0], [4.0, 2.0]])
  large = attention_losses.enlarge(jnp.asarray(maps), grid, (48, 24))
  for film, ours in zip(maps, np.asarray(large), strict=True):
    usual = cv2.resize(film, (24, 48), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(ours, usual, atol=1e-4)


@pytest.mark.parametrize('resample', attention_losses.RESAMPLERS)
def test_films_need_not_be_square(resample):
  """A map of 6 x 4 over 48 x 64 pixels; axes swapped, nothing changes."""
  maps = np.random.default_rng(1).normal(size=(2, 6, 4, 1))
  mask = np.zeros((2, 48, 64), np.uint8)
  mask[:, 8:24, 16:48] = 1  # rows 1 and 2, columns 1 and 2 of the map
  grid = np.array([[8.0, 4.0], [16.0, 8.0]])
  guide = lambda maps, grid, mask: mean(
    attention_losses.attention_guidance(
      {'maps': jnp.asarray(maps, jnp.float32), 'grid': jnp.asarray(grid)},
      batch_of(mask),
      resample=resample,
    )[0],
    batch_of(mask),
  )
  loss = guide(maps, grid, mask)
  if resample == 'nearest':
    expected = -log_softmax(maps)[:, 1:3, 1:3].mean()
    assert loss == pytest.approx(expected, rel=1e-4)
  swapped = guide(maps.swapaxes(1, 2), grid[::-1], mask.swapaxes(1, 2))
  assert loss == pytest.approx(swapped, rel=1e-5)
  share = attention_losses.inside(
    {
      'attention': jax.nn.softmax(jnp.asarray(maps[..., 0]), (1, 2)),
      'grid': jnp.asarray(grid),
    },
    jnp.asarray(mask),
  )
  large = np.stack([cv2.resize(m, (64, 48), None, 0, 0, 2) for m in maps])
  inside = np.exp(log_softmax(large[..., None]))[:, 8:24, 16:48].sum((1, 2, 3))
  np.testing.assert_allclose(share, inside, rtol=1e-4)


def test_bicubic_guidance_sees_masks_between_the_positions():
  masks = np.zeros((1, SIZE, SIZE), np.uint8)
  masks[0, 7:9, 7:9] = 1  # the corner where four positions meet
  maps, batch = outputs_of(random_maps(1)), batch_of(masks)
  guide = attention_losses.attention_guidance
  assert not np.asarray(guide(maps, batch, resample='nearest')[0]).any()
  loss = float(guide(maps, batch, resample='bicubic')[0][0])
  film = np.asarray(maps['maps'])[0, :, :, 0]
  large = cv2.resize(film, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
  log_a = log_softmax(large[None])[0]
  assert loss == pytest.approx(-log_a[7:9, 7:9].mean(), rel=1e-4)


def test_attention_inside_a_mask():
  maps = np.full((2, 6, 6, 1), -30.0)
  maps[0, 1, 1], maps[1] = 30.0, 0.0
  attention = jax.nn.softmax(jnp.asarray(maps[..., 0]), (1, 2))
  masks = squares(3, 3)
  share = attention_losses.inside(
    {'attention': attention, 'grid': GRID}, jnp.asarray(masks)
  )
  np.testing.assert_allclose(share, [1, 0.25], atol=1e-3)
  nothing = attention_losses.inside(
    {'attention': attention, 'grid': GRID}, jnp.asarray(squares(0, 0))
  )
  assert not np.asarray(nothing).any()


@pytest.mark.parametrize('name', sorted(age_losses.LOSSES))
def test_it_composes_with_every_loss(name):
  rng = np.random.default_rng(5)
  outputs = outputs_of(
    rng.normal(size=(2, 6, 6, 240)),
    logits=jnp.asarray(rng.normal(size=(2, 240)), jnp.float32),
    age=jnp.array([100.0, 90.0]),
    raw={'p_male': jnp.zeros(2)},
  )
  batch = batch_of(squares(2, 4), age=jnp.array([99.0, 180.0]))
  batch['sex'] = jnp.array([1.0, -1.0])
  batch['label'] = jnp.array([3, -1])
  loss = age_losses.LOSSES[name]
  plain, scalars = loss(outputs, batch)
  guide, _ = attention_losses.attention_guidance(outputs, batch)
  total, more = attention_losses.guided(loss, 0.1)(outputs, batch)
  np.testing.assert_allclose(total, plain + 0.1 * guide, rtol=1e-5)
  assert set(more) == {*scalars, 'guidance', 'guided_films'}


def test_perfect_labels_and_attention_leave_the_log_of_the_mask():
  """H7 with H8: the label distribution costs nothing, the attention log |S|."""
  age = jnp.array([127.0])
  logits = jnp.log(age_losses.gaussian_label(age, 240, 15.0) + 1e-30)
  maps = np.full((1, 6, 6, 240), -40.0)
  maps[:, :2, :2] = 0.0
  outputs = outputs_of(maps, logits=logits, age=age)
  loss = attention_losses.guided(age_losses.label_distribution, 0.1)
  total, scalars = loss(outputs, batch_of(squares(2), age=age))
  assert float(scalars['kl'][0]) == pytest.approx(0, abs=1e-5)
  assert float(total[0]) == pytest.approx(0.1 * np.log(4), abs=3e-3)


def test_mistakes_say_what_to_choose():
  with pytest.raises(ValueError, match=r"per_image'\) and guidance.resample"):
    attention_losses.guided(age_losses.mae, 0.1, normalise='per_film')
  with pytest.raises(ValueError, match=r"Choose net.pool='gap'"):
    attention_losses.attention_guidance(
      {'age': jnp.zeros(1)}, batch_of(squares(1))
    )
