"""Drawn hands on the canvas."""

import contextlib
import filecmp
import json

import drawn_hands
from ml_collections import ConfigDict
import numpy as np
import planted
import pytest

from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import sources
from boneage_jax.imaging import codec
from boneage_jax.imaging import palm
from boneage_jax.imaging import points as points_lib
from boneage_jax.regions import placement
from boneage_jax.regions import register
from boneage_jax.regions import registration_table
from configs import common

COUNT = 18
OPTIONS = ConfigDict(
  dict(
    regions=('hand', 'carpal'),
    crop_size=((100, 75), (60, 60)),
    crop_margin=0.1,
    background='black',
    batch_size=5,
  )
)
# Row and column of tip and capitate at the net, by hand from the paper's sizes
# of the regions: 2000 x 1500 about (800, 1040), and 750 x 750 about the second.
TIP_IN_HAND = ((100 - 40) / 20, (800 - 50) / 20)
CAPITATE_IN_HAND = ((1600 - 40) / 20, (800 - 50) / 20)
CAPITATE_IN_CARPAL = (30, 30)
PADS = {'hand': (10, 8), 'carpal': (6, 6)}  # margins in whole pixels


class Hands:
  """What the job is given of COUNT drawn hands."""

  def __init__(self, wrong=(), invert=False):
    drawn = [drawn_hands.hand(i) for i in range(COUNT)]
    films, masks, points = zip(*drawn, strict=True)
    films = [255 - film for film in films] if invert else films
    self.source = planted.Source(films)
    ids = [str(100 + i) for i in range(COUNT)]
    pairs = zip(ids, masks, strict=True)
    self.masks = {film: drawn_hands.film_mask(mask) for film, mask in pairs}
    split = ['test' if i < 6 else 'train' for i in range(COUNT)]
    self.table = {
      'id': np.array(ids),
      'split': np.array(split),
      'sex': np.ones(COUNT, np.float32),
      'age': np.full(COUNT, 50, np.float32),
      'position': np.arange(COUNT),
    }
    marked = (np.array(points) + 0.5) / drawn_hands.HW[::-1]
    found = marked.copy()
    for row in wrong:
      found[row, [0, 1]] = marked[row, [1, 0]]
    self.hands = placement.Hands(
      id=self.table['id'],
      split=self.table['split'],
      found=found,
      marked=marked,
      film_hw=np.tile(drawn_hands.HW, (COUNT, 1)),
    )

  def run(self, folder, masks=None, source=None, polarity='keep', **changes):
    """Run the job; return its table."""
    register.register_films(
      self.hands,
      source or self.source,
      self.masks if masks is None else masks,
      self.table,
      str(folder),
      ConfigDict({'polarity': polarity}),
      ConfigDict(OPTIONS.to_dict() | changes),
    )
    return registration_table.read(str(folder / 'registration.csv'))


def crops_of(folder):
  """Return by film its crops by region."""
  films = film_table.read_films(str(folder / 'films.csv'))
  source = sources.crop_source(str(folder), films)
  found = {}
  for i in range(len(source)):
    pictures = map(codec.decode_stored, source[i]['regions'])
    found[source[i]['id']] = dict(zip(PADS, pictures, strict=True))
  return found


def bright(crop, region, near):
  """Return row and column of the bright mark nearest to a place at the net."""
  pixels = np.argwhere(crop > 190) + 0.5 - PADS[region]
  close = np.hypot(*(pixels - near).T) < 8
  assert close.any(), 'no bright mark there'
  return pixels[close].mean(0)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Folder of the job on hands of which one has a wrong point."""
  folder = tmp_path_factory.mktemp('whole')
  Hands(wrong=(2,)).run(folder)
  return folder


def registered(folder):
  """Return the table of a folder."""
  return registration_table.read(str(folder / 'registration.csv'))


def test_regions_show_the_points_at_their_places(whole):
  said = {film: one.status for film, one in registered(whole).items()}
  assert said.pop('102') == 'mask' and set(said.values()) == {'points'}
  crops_by_film = crops_of(whole)
  del crops_by_film['102']
  for film, crops in crops_by_film.items():
    assert crops['hand'].shape == (120, 91)
    assert crops['carpal'].shape == (72, 72)
    for region, place in (
      ('hand', TIP_IN_HAND),
      ('hand', CAPITATE_IN_HAND),
      ('carpal', CAPITATE_IN_CARPAL),
    ):
      found = bright(crops[region], region, place)
      np.testing.assert_allclose(found, place, atol=0.8, err_msg=film)
    # All hands have the thumb on one side, mirrored films too.
    hand = crops['hand'] > 60
    assert hand[:, 66:].sum() > 2 * hand[:, :26].sum()
    # Black but for pixels on the edge, which mix.
    outside = crops['hand'] <= drawn_hands.OUTSIDE
    assert (crops['hand'][outside] == 0).mean() > 0.95


def test_the_table_takes_fractions_to_the_canvas(whole):
  hands = Hands()
  for row, (film, one) in enumerate(registered(whole).items()):
    assert film == str(100 + row)
    assert one.mirrored == (row % 6 == 5)
    if film == '102':
      continue
    tip, capitate, thumb = points_lib.move(hands.hands.marked[row], one.matrix)
    np.testing.assert_allclose(tip, (800, 100), atol=0.01)
    np.testing.assert_allclose(capitate, (800, 1600), atol=0.01)
    assert thumb[0] > 800
    pixels = hands.hands.marked[row] * drawn_hands.HW[::-1]
    length = np.hypot(*(pixels[1] - pixels[0]))
    assert one.scale == pytest.approx(1500 / length, rel=1e-4)


def test_a_film_with_a_fault_lies_as_its_mask_says(tmp_path):
  # Of the wrong films one is mirrored.
  table = Hands(wrong=(2, 5, 9)).run(tmp_path)
  by_mask = {film for film, one in table.items() if one.status == 'mask'}
  assert by_mask == {'102', '105', '109'}
  assert table['105'].mirrored and not table['102'].mirrored
  crops = crops_of(tmp_path)
  for film in by_mask:
    assert 'angle' in table[film].reason.split()
    for place in (TIP_IN_HAND, CAPITATE_IN_HAND):
      found = bright(crops[film]['hand'], 'hand', place)
      np.testing.assert_allclose(found, place, atol=4)
  figures = json.loads((tmp_path / 'registration.json').read_text())
  every, test = (figures['splits'][name] for name in ('all', 'test'))
  assert every['status'] == {'points': COUNT - 3, 'mask': 3, 'failed': 0}
  assert test['status'] == {'points': 4, 'mask': 2, 'failed': 0}
  assert every['reasons']['angle'] == 3
  # Errors of films by their points are 0, those by mask are not.
  assert every['annotated']['median_percent']['tip'] < 0.01
  assert every['annotated']['thumb_side'] == 1
  away = [
    np.hypot(*(place - target)) / 20.8
    for row in (2, 5, 9)
    for place, target in zip(
      points_lib.move(
        Hands().hands.marked[row, :2], table[str(100 + row)].matrix
      ),
      ((800, 100), (800, 1600)),
      strict=True,
    )
  ]
  near = sum(max(pair) <= 3 for pair in zip(away[::2], away[1::2], strict=True))
  within = (COUNT - 3 + near) / COUNT
  assert every['annotated']['within'] == pytest.approx(within)
  assert 0 < max(away) < 10


def test_a_film_without_points_and_mask_is_kept_whole(tmp_path, capsys):
  hands = Hands(wrong=(3,))
  hands.hands.found[4, 2] = np.nan
  masks = {film: mask for film, mask in hands.masks.items() if film != '103'}
  masks['104'] = drawn_hands.film_mask(np.zeros(drawn_hands.HW, np.uint8))
  table = hands.run(tmp_path, masks=masks, background='keep')
  assert table['104'].reason == 'missing_point no_hand_in_mask'
  assert table['103'].reason.split()[-1] == 'no_mask'
  for film in ('103', '104'):
    assert table[film].status == 'failed' and table[film].matrix is None
  text = capsys.readouterr().out
  assert f'{COUNT} films: {COUNT - 2} by points, 0 by mask, 2 kept' in text
  assert 'no_mask 1' in text and 'no_hand_in_mask 1' in text
  # 240 x 200 in 100 x 75 is 90 x 75, in the middle.
  film, _, points = drawn_hands.hand(3)
  crop = crops_of(tmp_path)['103']['hand']
  assert film.min() == crop[20:100, 10:80].min() == drawn_hands.OUTSIDE
  assert not crop[:13].any() and not crop[:, :6].any()
  place = (points[0, ::-1] + 0.5) * 90 / 240 + (5, 0)
  np.testing.assert_allclose(bright(crop, 'hand', place), place, atol=0.7)
  figures = json.loads((tmp_path / 'registration.json').read_text())
  test = figures['splits']['test']['annotated']
  assert test['films'] == 6 and test['within'] == pytest.approx(4 / 6)


def test_without_masks_the_background_stays(tmp_path):
  table = Hands(wrong=(0,)).run(tmp_path, masks={}, background='keep')
  assert table['100'].status == 'failed'
  crop = crops_of(tmp_path)['101']['hand']
  assert (crop == drawn_hands.OUTSIDE).mean() > 0.3
  figures = json.loads((tmp_path / 'registration.json').read_text())
  assert figures['rule'] is None and figures['side'] == -1


def test_dark_bones_are_cut_as_grey_as_they_are(whole, tmp_path):
  Hands(wrong=(2,), invert=True).run(tmp_path, polarity='invert')
  one, other = crops_of(whole), crops_of(tmp_path)
  np.testing.assert_array_equal(one['107']['hand'], 255 - other['107']['hand'])


def test_a_net_sees_stored_pixels_and_the_tone_of_the_hand(whole):
  films = film_table.read_films(str(whole / 'films.csv'))
  record = sources.crop_source(str(whole), films, [0])[8]
  options = ConfigDict(common.image_input(size=(100, 75), crop_margin=0.1))
  stored = codec.decode_stored(record['regions'][0])
  example = preprocess.make_example(record, options)
  inner = stored[10:-10, 8:-8]
  np.testing.assert_array_equal(example['regions'][0, ..., 0], inner)
  options.percentiles = (1.0, 99.0)
  seen = preprocess.make_example(record, options)['regions'][0, ..., 0]
  inside = np.sort(stored[stored > 0])
  low, high = (inside[round(q * len(inside))] for q in (0.01, 0.99))
  assert low > np.percentile(stored, 20) == 0
  expected = np.clip((inner - float(low)) / (float(high) - low), 0, 1) * 255
  np.testing.assert_allclose(seen, expected, atol=3)


class Dies:
  """A source that ends in the middle."""

  def __init__(self, source):
    self.source = source

  def __len__(self):
    return len(self.source)

  def __getitem__(self, index):
    if index == 13:
      raise KeyboardInterrupt
    return self.source[index]


def test_a_killed_job_ends_with_the_same_files(whole, tmp_path):
  hands = Hands(wrong=(2,))
  killed = tmp_path / 'killed'
  killed.mkdir()
  (killed / 'done.json').write_text('of an earlier run')
  with contextlib.suppress(KeyboardInterrupt):
    hands.run(killed, source=Dies(hands.source))
  assert not (killed / 'done.json').exists()
  hands.run(killed)
  names = sorted(p.name for p in whole.iterdir())
  assert (
    names
    == sorted(p.name for p in killed.iterdir())
    == [
      'crops.array_record',
      'done.json',
      'films.csv',
      'points.csv',
      'registration.csv',
      'registration.json',
    ]
  )
  same = filecmp.cmpfiles(whole, killed, names, shallow=False)
  assert same[0] == names


def test_frames_are_the_regions_on_the_film():
  # Mirrored, turned by 90 degrees and twice as large: x = 1000 - 2 v and
  # y = 40 - 2 u of u, v on the film.
  matrix = np.array([[0, -2, 1000], [-2, 0, 40]], float)
  found = placement.frames(matrix, ('carpal', 'hand'))
  # By hand: 750 x 750 about (800, 1600), whose left edge is at 425 - 0.5.
  left, right, top, bottom = 424.5, 1174.5, 1224.5, 1974.5
  corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
  expected = [((40 - y) / 2, (1000 - x) / 2) for x, y in corners]
  np.testing.assert_allclose(found['carpal'], expected, atol=1e-9)
  assert list(found) == ['carpal', 'hand']
  sides = np.hypot(*(np.roll(found['hand'], -1, 0) - found['hand']).T)
  np.testing.assert_allclose(sides, [750, 1000, 750, 1000])


def test_what_was_learned_is_read_back():
  known = placement.Known(
    {'scale': (0.1 + 0.2, 2 / 3)}, -1, palm.Rule(700.0, 1 / 3, 2.0, -5.0)
  )
  for one in (known, known._replace(rule=None)):
    rule = one.rule and one.rule._asdict()
    text = json.dumps({'limits': one.limits, 'side': one.side, 'rule': rule})
    assert placement.recall(json.loads(text)) == one
