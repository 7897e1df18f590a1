"""Dice and Jaccard of planted masks, by counting pixels."""

import jax
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.core import statistics
from boneage_jax.training import validate
from boneage_jax.training.tasks import segmentation
from configs import hand_geometry


@jax.jit
def compiled(logits, mask):
  return segmentation.reduce({'mask': logits}, {'region_mask': mask})


def reduce(found, mask):
  logits = np.where(found, 3, -3).astype(np.float32)
  return measure(logits, mask.astype(np.uint8))


def measure(logits, mask):
  return segmentation.overlaps(jax.device_get(compiled(logits, mask)))


def square(top, left, side=4):
  mask = np.zeros((10, 16), int)
  mask[top : top + side, left : left + side] = 1
  return mask


def test_overlaps_are_those_of_counted_pixels():
  nothing, hidden = np.zeros((10, 16), int), square(2, 2)
  hidden[:4] = 255  # two of the hand's four rows
  pairs = [
    (square(2, 2), square(2, 2)),
    (square(2, 2), square(2, 4)),  # 8 pixels in common of 24
    (square(0, 0), square(6, 8)),
    (nothing, nothing),
    (square(2, 2), nothing),
    (nothing, square(2, 2)),
    (square(3, 2), hidden),  # rows 4 and 5 are right, 6 is not, 3 unknown
  ]
  found, masks = map(np.stack, zip(*pairs, strict=True))
  kept = reduce(found, masks)
  np.testing.assert_allclose(
    kept['dice'], [1, 0.5, 0, 1, 0, 0, 16 / 20], rtol=1e-6
  )
  np.testing.assert_allclose(
    kept['jaccard'], [1, 1 / 3, 0, 1, 0, 0, 8 / 12], rtol=1e-6
  )
  counts = [16, 16, 16, 0, 16, 0, 12]
  np.testing.assert_allclose(kept['area'], np.array(counts) / 160, rtol=1e-6)
  counts = [16, 16, 16, 0, 0, 16, 8]
  np.testing.assert_allclose(
    kept['area_true'], np.array(counts) / 160, rtol=1e-6
  )
  # A probability of one half is outside.
  kept = measure(0 * found.astype(np.float32), np.ones_like(masks, np.uint8))
  assert not kept['dice'].any() and not kept['area'].any()


def test_a_mask_is_the_largest_part():
  label = square(0, 12)  # 16 pixels, away from the hand's
  label[:, 13:] = 0
  hand = square(2, 2)
  touching = hand.copy()
  touching[6, 6] = 1  # at a corner of the hand
  masks = np.stack([hand] * 3)
  kept = reduce(np.stack([hand + label, touching, label]), masks)
  np.testing.assert_allclose(kept['dice'], [1, 32 / 33, 0], rtol=1e-6)
  np.testing.assert_allclose(kept['area'] * 160, [16, 17, 4], rtol=1e-6)


def test_less_is_better_and_people_read_dice():
  hand = np.stack([square(2, 2), square(2, 4)])
  logits = np.where(square(2, 2), 3, -3).astype(np.float32)
  kept = compiled(np.stack([logits] * 2), hand.astype(np.uint8))
  error = segmentation.error(jax.device_get(kept), {})
  assert error == pytest.approx(0.25)  # of 0 and 0.5
  error = 0.05
  assert segmentation.format_metric(error) == 'Dice 0.9500'


def test_a_film_of_which_nothing_is_known_is_not_judged():
  lost = np.full((10, 16), 255)
  masks = np.stack([square(2, 4), lost, square(2, 2)])
  logits = np.where(np.stack([square(2, 2)] * 3), 3, -3).astype(np.float32)
  bits = jax.device_get(compiled(logits, masks.astype(np.uint8)))
  kept = segmentation.overlaps(bits)
  np.testing.assert_allclose(kept['dice'], [0.5, np.nan, 1])
  np.testing.assert_allclose(kept['jaccard'], [1 / 3, np.nan, 1])
  films = {
    'id': np.arange(3),
    'sex': np.array([1.0, -1, 1]),
    'age': np.array([9.0, 9, 30]),
  }
  assert segmentation.error(bits, films) == pytest.approx(0.25)
  found = segmentation.summary(kept, films)
  assert (found['all']['films'], found['all']['not_judged']) == (2, 1)
  assert found['all']['dice'] == pytest.approx(0.75)
  assert found['sex']['F'] == {'films': 0, 'not_judged': 1}
  assert 'not_judged' not in found['sex']['M']
  said = segmentation.line('net', 'test', found['all'])
  assert said.endswith(
    'on 2 test films; 1 whose outline is not known are not judged.'
  )
  said = segmentation.line('net', 'test', found['sex']['F'])
  assert said.startswith('net: no test film is judged; 1 whose')
  nothing = {name: x[1:2] for name, x in bits.items()}
  with pytest.raises(ValueError, match='none of the 3 films that judge masks'):
    segmentation.error(nothing, films)


def test_means_are_of_all_of_each_sex_and_of_each_age_band():
  rng = np.random.default_rng(0)
  dice = rng.uniform(0.9, 1, 30)
  outputs = {'dice': dice, 'jaccard': dice / (2 - dice)}
  sex = np.repeat([1.0, -1.0], [8, 22])
  films = {'id': np.arange(30), 'sex': sex, 'age': np.repeat([23, 24.0], 15)}
  found = segmentation.summary(outputs, films)
  assert set(found['sex']) == {'M', 'F'}
  assert set(found['age']) == {'0-24', '24-48'}
  assert found['sex']['M']['dice'] == pytest.approx(dice[:8].mean())
  assert found['age']['24-48']['dice'] == pytest.approx(dice[15:].mean())
  assert found['age']['0-24']['films'] == 15
  # Too few boys for an interval.
  assert 'dice_ci95' not in found['sex']['M']
  expected = statistics.mean(outputs['jaccard'], 'jaccard')
  assert expected.items() <= found['all'].items()
  low, high = found['all']['dice_ci95']
  assert segmentation.line('net', 'test', found['all']).startswith(
    f'net: mean Dice {dice.mean():.4f} ({low:.4f} to {high:.4f}), Jaccard '
  )


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(net=dict(name='age_net')), r"net\.name='unet' .* got 'age_net'"),
    (dict(input=dict(masks=())), r'kinds of masks in input\.masks, got'),
    (dict(input=dict(masks=('hand',))), r"^segmenter\.input\.masks=\('hand',"),
    (dict(tta=dict(flip=True)), r'segmenter\.tta\.flip=False'),
    (dict(tta=dict(rotate=(0.0, 5.0))), r'got rotate=\(0\.0, 5\.0\) and flip'),
  ],
)
def test_what_it_cannot_train_with_is_refused(changes, message):
  config = ConfigDict({'segmenter': hand_geometry.segmenter_stage()})
  segmentation.check(config, 'segmenter')
  config.segmenter.update(changes)
  with pytest.raises(ValueError, match=message):
    segmentation.check(config, 'segmenter')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      dict(crops_from='regions', builder_config=''),
      r"whole films for segmenter\.input\.masks, got crops of 'regions': set",
    ),
    (dict(rotate90=True), r'Expected segmenter\.input\.rotate90=False'),
  ],
)
def test_masks_are_of_whole_upright_films(changes, message):
  options = ConfigDict(hand_geometry.segmenter_stage()['input'])
  validate.check_input(options, 'segmenter.input')
  options.update(changes)
  with pytest.raises(ValueError, match=message):
    validate.check_input(options, 'segmenter.input')
