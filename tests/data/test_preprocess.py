"""One record to one example: what augmentation may and may not do."""

import json
import types

from encode import encode
import numpy as np
import pytest

from boneage_jax.core import sizes
from boneage_jax.data import fitting
from boneage_jax.data import preprocess
from boneage_jax.imaging import geometry
from boneage_jax.imaging import masks
from configs import common

RING = [[0.30, 0.20], [0.65, 0.30], [0.55, 0.80], [0.45, 0.85], [0.25, 0.60]]
STROKE = [[0.2, 0.3], [0.6, 0.4], [0.7, 0.8]]


def config(**changes):
  return types.SimpleNamespace(**common.image_input(**changes))


def planted(annotation, kind, hw=(150, 120)):
  """A film whose bright pixels are its mask."""
  film = masks.draw(annotation, (kind,), hw)
  return {
    'id': '1',
    'row': 1,
    'sex': 1.0,
    'age': 100.0,
    'image': encode(film),
    'annotations': json.dumps(annotation),
  }


def test_cutouts_are_boxes_half_of_the_time():
  rng = np.random.default_rng(0)
  boxes = np.array(fitting.cutouts(800, rng))
  assert 340 < len(boxes) < 460
  assert boxes.min() >= 0 and boxes.max() <= 1
  sides = boxes[:, 2:] - boxes[:, :2]
  assert sides.min() >= 0.12 and sides.max() <= 0.30
  np.testing.assert_allclose(sides.mean(), 0.21, atol=0.01)


def test_examples_lose_rectangles_in_training_only():
  image = encode(np.full((64, 64), 200, np.uint8))
  record = {'id': '1', 'row': 1, 'sex': 1.0, 'age': 100.0, 'image': image}
  settings = config(size=64, cutout=8)
  whole = preprocess.make_example(record, settings)['image']
  assert (whole == 200).all()
  rng = np.random.default_rng(0)
  trained = preprocess.make_example(record, settings, rng)['image']
  assert set(np.unique(trained)) == {0, 200}


AUGMENTED = dict(rotate=25, zoom=0.15, shift=0.08, flip=True, cutout=3)
TONED = dict(percentiles=(), brightness=0.1, contrast=0.1, gamma=0.1)


@pytest.mark.parametrize('size', [48, (150, 200)])
@pytest.mark.parametrize('resize', ['squash', 'letterbox'])
@pytest.mark.parametrize(
  ('annotation', 'kind'),
  [
    ({'polygons': [{'exterior': RING, 'interior': []}]}, 'hand_polygons'),
    ({'hand_box': [0.2, 0.1, 0.7, 0.9]}, 'hand_box'),
    ({'fracture': {'strokes': [STROKE]}}, 'fracture_strokes'),
  ],
)
def test_mask_and_film_stay_aligned(annotation, kind, resize, size):
  """Rotated, zoomed, shifted, mirrored and cut out alike, pixel by pixel."""
  record = planted(annotation, kind)
  settings = config(size=size, resize=resize, **AUGMENTED, **TONED)
  mirrored = hidden = 0
  for seed in range(12):
    rng = np.random.default_rng(seed)
    example = preprocess.make_example(record, settings, rng, masks=(kind,))
    mask, grey = example['region_mask'], example['image'][..., 0]
    assert mask.dtype == np.uint8
    assert mask.shape == grey.shape == sizes.size_hw(size)
    assert set(np.unique(mask)) <= {0, 1, 255}
    black = mask == masks.UNKNOWN
    assert (grey[black] < 90).all()
    # The tone moves the grey of the edge a little, never a whole pixel.
    middle = (grey > 90) & (grey < 160)
    told = ~black & ~middle
    np.testing.assert_array_equal(mask[told] == 1, grey[told] > 127)
    hidden += black.any()
    plain = preprocess.make_example(
      record, settings, np.random.default_rng(seed)
    )
    np.testing.assert_array_equal(plain['image'], example['image'])
    mirrored += np.linalg.det(_matrix(seed, size)) < 0
  assert 0 < mirrored < 12 and hidden > 6


def _matrix(seed, size):
  """The linear part that the example of a seed draws, after its tone."""
  rng = np.random.default_rng(seed)
  rng.uniform(-1, 1, 3)
  kept = {k: v for k, v in AUGMENTED.items() if k != 'cutout'}
  return geometry.augment_matrix(sizes.size_hw(size), rng, **kept)[:, :2]


def test_a_cutout_leaves_the_rest_of_film_and_mask_untouched():
  """Masked pixels exactly 0, outside bit-identical."""
  rng = np.random.default_rng(3)
  noise = rng.integers(1, 256, (64, 64)).astype(np.uint8)
  annotation = {'hand_box': [0.1, 0.1, 0.9, 0.9]}
  record = planted(annotation, 'hand_box') | {'image': encode(noise)}
  for seed in range(6):
    made = [
      preprocess.make_example(
        record,
        config(size=64, cutout=count),
        np.random.default_rng(seed),
        masks=('hand_box',),
      )
      for count in (0, 2)
    ]
    hole = made[1]['region_mask'] == masks.UNKNOWN
    assert not made[1]['image'][hole].any()
    for name in ('image', 'region_mask'):
      np.testing.assert_array_equal(made[0][name][~hole], made[1][name][~hole])


def test_a_film_without_a_mask_is_unknown_everywhere():
  record = planted({'hand_box': [0.1, 0.1, 0.9, 0.9]}, 'hand_box')
  settings = config(size=32)
  for kinds, value in (
    (('wrist_box',), {255}),
    (('wrist_box', 'hand_box'), {0, 1}),
  ):
    example = preprocess.make_example(record, settings, masks=kinds)
    assert set(np.unique(example['region_mask'])) == value
  del record['annotations']
  example = preprocess.make_example(record, settings, masks=('hand_box',))
  assert (example['region_mask'] == 255).all()
  assert 'region_mask' not in preprocess.make_example(record, settings)


def test_labels_come_along():
  record = planted({'hand_box': [0.1, 0.1, 0.9, 0.9]}, 'hand_box')
  example = preprocess.make_example(record | {'label': -1}, config(size=16))
  assert example['label'] == -1 and example['label'].dtype == np.int32
  assert 'label' not in preprocess.make_example(record, config(size=16))


def test_a_share_of_visits_is_spoilt_and_masks_stay():
  record = planted({'hand_box': [0.1, 0.1, 0.9, 0.9]}, 'hand_box')
  make = lambda share, seed, kinds=(): preprocess.make_example(
    record,
    config(size=60, corruption_prob=share),
    np.random.default_rng(seed),
    kinds,
  )
  plain = make(0.0, 0, ('hand_box',))
  changed = 0
  for seed in range(60):
    spoilt = make(1.0, seed, ('hand_box',))
    np.testing.assert_array_equal(spoilt['region_mask'], plain['region_mask'])
    half = make(0.5, seed)['image']
    changed += (half != plain['image']).any()
  assert 15 < changed < 45


def spoilt(record, size, seed):
  rng = np.random.default_rng(seed)
  return preprocess.make_example(
    record, config(size=size, corruption_prob=1.0), rng
  )


def test_spoilt_crops_do_not_run_into_each_other():
  """Every crop is what it would be without the others."""
  side, rng = 40, np.random.default_rng(2)
  crops = rng.integers(0, 256, (4, side, side)).astype(np.uint8)
  crops[1], crops[2] = 255, 0
  record = {'id': '1', 'row': 1, 'sex': 1.0, 'age': 100.0}
  several = record | {'regions': [encode(crops[i]) for i in (3, 1, 2)]}
  single = record | {'regions': [encode(crops[3])]}
  kinds = set()
  for seed in range(30):
    rng = np.random.default_rng(seed)
    rng.random()  # whether
    kind = int(rng.integers(5))
    first, white, black = spoilt(several, side, seed)['regions']
    alone = spoilt(single, side, seed)['regions']
    np.testing.assert_array_equal(first, alone[0])
    if kind != 2:  # noise
      assert np.ptp(white) == 0 and np.ptp(black) == 0
      assert white.min() > black.max()
    kinds.add(kind)
  assert kinds == set(range(5))


def test_a_spoilt_film_is_erased_where_it_was_to_be():
  """What lies in a hole leaves no trace, and the film is not moved."""
  size, box, even = 160, (0.1, 0.4, 0.6, 0.9), 140
  hole = np.zeros((size, size), bool)
  hole[64:144, 16:96] = True
  film = np.full((size, size), even, np.uint8)
  bright = film.copy()
  bright[80:120, 32:72] = 230  # no blur reaches the edge of the hole
  record = {'id': '1', 'row': 1, 'sex': 1.0, 'age': 100.0, 'holes': [(box, 0)]}
  changed = 0
  for seed in range(40):
    without, seen = (
      spoilt(record | {'image': encode(image)}, size, seed)['image'][..., 0]
      for image in (film, bright)
    )
    np.testing.assert_array_equal(without, seen)
    assert not seen[hole].any()
    rows = np.ma.array(seen, mask=hole).mean(1)
    assert np.ptp(rows) < 25  # noise; a frame or what was hidden is more
    changed += (seen[~hole] != even).any()
  assert changed > 10


def test_training_sees_crops_in_whole_pixels_and_judges_see_films():
  settings = config(size=(40, 60), crop=0.75)
  film = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
  record = {'id': '1', 'row': 1, 'sex': 1.0, 'age': 9.0, 'image': encode(film)}
  whole = preprocess.make_example(record, settings)['image']
  assert whole.shape == (40, 60, 1)
  places = set()
  for seed in range(80):
    rng = np.random.default_rng(seed)
    crop = preprocess.make_example(record, settings, rng)['image']
    assert crop.shape == (*sizes.training_hw(settings), 1) == (30, 30, 1)
    found = [
      (i, j)
      for i in range(11)
      for j in range(31)
      if (whole[i : i + 30, j : j + 30] == crop).all()
    ]
    (place,) = found
    places.add(place)
  rows, columns = zip(*places, strict=True)
  # All of the way, to both ends.
  assert min(rows) == 0 and max(rows) == 10
  assert min(columns) <= 1 and max(columns) >= 29


def test_marks_move_with_the_crop():
  record = planted(
    {'polygons': [{'exterior': RING, 'interior': []}]}, 'hand_polygons'
  )
  settings = config(size=48, crop=0.75)
  rng = np.random.default_rng(0)
  example = preprocess.make_example(
    record, settings, rng, masks=('hand_polygons',)
  )
  mask, grey = example['region_mask'], example['image'][..., 0]
  assert mask.shape == grey.shape == (36, 36)
  sure = (grey < 90) | (grey > 160)
  np.testing.assert_array_equal(mask[sure] == 1, grey[sure] > 127)


def test_features_are_read_whole_or_one_position_at_a_time():
  features = np.arange(2 * 3 * 4, dtype=np.float16).reshape(2, 3, 4)
  record = {'id': '1', 'row': 7, 'sex': -1.0, 'age': 9.0, 'features': features}
  judged = preprocess.make_example(record, config())
  np.testing.assert_array_equal(judged['features'], features)
  assert 'image' not in judged and judged['id'] == 7
  seen = set()
  for seed in range(60):
    rng = np.random.default_rng(seed)
    one = preprocess.make_example(record, config(), rng)['features']
    assert one.shape == (1, 1, 4)
    seen.add(one[0, 0, 0].item())
  assert seen == {0, 4, 8, 12, 16, 20}
