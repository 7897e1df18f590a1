"""What is said of a film, and its views as text and as a row of a table."""

import csv
import dataclasses
import types

import numpy as np
import pytest

from boneage_jax.imaging import age_maps
from boneage_jax.imaging import boxes
from boneage_jax.imaging import overlay
from boneage_jax.inference import basis
from boneage_jax.inference import ensemble
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import quality_checks
from boneage_jax.inference import row_file
from boneage_jax.inference import tables
from boneage_jax.inference import views
from boneage_jax.regions import localize
from boneage_jax.runs import predictions

IMAGE = np.arange(16, dtype=np.uint8).reshape(4, 4)
BOX = (0.25, 0.5, 0.75, 1.0)
FIRST = ('file', *predictions.FILE_COLUMNS[1:])


def predicted(**changes):
  fields = dict(
    age_predicted=126.04,
    sex='F',
    probability=None,
    regions={
      'carpal': boxes.Region(BOX, 0.5, True),
      'metacarpal': boxes.Region(boxes.WHOLE_FILM, 0.0, False),
    },
    rotation_deg=0,
    film_box=boxes.WHOLE_FILM,
    quality_flags=(),
    overlay=np.zeros((4, 4, 3), np.uint8),
  )
  return prediction_lib.Prediction(**fields | changes)


def calibration(*reach):
  groups = {'any': {'cuts': [], 'n': [99], 'quantiles': [list(reach)]}}
  return {
    'score': 'absolute',
    'levels': [80, 90],
    'temperature': None,
    'groups': groups,
  }


def test_what_is_not_known_is_empty():
  row = tables.row(predicted(), 'a/film.png')
  assert list(row)[:9] == list(FIRST)
  assert [row[name] for name in FIRST] == [
    *('a/film.png', '', 'F', '', '126.0400', '', '', 'ok', ''),
  ]
  assert row['rotation_deg'] == '0' and row['regions'] == 'carpal'
  sides = [float(row[f'carpal_{side}']) for side in ('x0', 'y0', 'x1', 'y1')]
  assert sides == list(BOX)
  assert float(row['film_y1']) == float(row['metacarpal_y1']) == 1
  line = tables.format_line(predicted())
  assert line == '10 y 6 mo (126.0 months), regions found: carpal'


def test_all_that_is_known_is_said():
  film = predicted(
    quality_flags=('polarity', 'sharpness'),
    rotation_deg=270,
    film_box=BOX,
    regions={},
  )
  film = prediction_lib.with_intervals(film, calibration(10, 200))
  assert film.intervals == {
    80: pytest.approx((116.04, 136.04)),
    90: pytest.approx((0, 326.04)),  # no age is below 0
  }
  assert (film.lo90, film.hi90) == film.intervals[90]
  row = tables.row(film, 'film.dcm')
  assert list(row)[:9] == list(FIRST)
  assert [row[name] for name in ('lo90', 'hi90', 'lo80', 'hi80')] == [
    *('0.0', '326.0', '116.0', '136.0')
  ]
  assert row['status'] == 'check'
  assert row['quality_flags'] == 'polarity sharpness'
  assert row['rotation_deg'] == '270' and float(row['film_x0']) == 0.25
  assert tables.format_line(film) == (
    '10 y 6 mo (126.0 months, 90 %: 0.0 to 326.0); border cropped; '
    'was rotated by 270 degrees, turned back; check: polarity, sharpness'
  )


def test_a_refused_film_has_no_age_unless_it_is_forced():
  evidence = {
    'two_hands': quality_checks.Measure(0.81, 0.4),
    'blank': quality_checks.Measure(0.1, 0.4),
  }
  film = predicted(quality_flags=('two_hands', 'region'), evidence=evidence)
  film = prediction_lib.with_intervals(film, calibration(10, 20))
  assert quality_checks.failed(evidence) == ('two_hands',)
  assert film.status == 'refused' and film.withheld
  row = tables.row(film, 'film.png')
  ages = [row[n] for n in ('age_predicted', 'lo80', 'hi80', 'lo90', 'hi90')]
  assert ages == [''] * 5 and row['status'] == 'refused'
  assert (row['two_hands_value'], row['blank_limit']) == ('0.8100', '0.4000')
  line = tables.format_line(film)
  assert line == 'refused, no age: two_hands (0.81, limit 0.40), region'
  forced = dataclasses.replace(film, forced=True)
  assert tables.row(forced, 'film.png')['age_predicted'] == '126.0400'
  assert tables.row(forced, 'film.png')['status'] == 'refused'
  line = tables.format_line(forced)
  assert line.startswith('10 y 6 mo (126.0 months, 90 %')
  assert line.endswith('; refused: two_hands (0.81, limit 0.40), region')


def test_an_uncalibrated_run_has_no_interval():
  film = prediction_lib.with_intervals(predicted(), {})
  assert film.intervals == {} and film.lo90 is None and film.hi90 is None


def test_of_an_unknown_sex_both_ages_are_said():
  male, female = (
    prediction_lib.with_intervals(
      predicted(
        age_predicted=age,
        sex=sex,
        probability=np.eye(240)[int(age)],
        quality_flags=flags,
      ),
      calibration(1, reach),
    )
    for age, sex, reach, flags in (
      (100.0, 'M', 10, ('polarity',)),
      (140.0, 'F', 20, ('polarity', 'sharpness')),
    )
  )
  film = prediction_lib.mixture(male, female)
  assert (film.age_if_male, film.age_if_female) == (100, 140)
  assert film.age_predicted == 120 and film.sex == 'unknown'
  assert film.probability[100] == film.probability[140] == 0.5
  assert film.intervals[90] == (90, 160)  # holds whichever sex it is
  assert film.quality_flags == ('polarity', 'sharpness')
  row = tables.row(film, 'a.png')
  assert float(row['age_if_male']) == 100 and float(row['age_if_female']) == 140
  assert '100.0 if male, 140.0 if female' in tables.format_line(film)


def test_every_view_says_what_it_rests_on():
  said = basis.Basis('cascade:phantom, assessor', '0.1', 'phantoms', True)
  row = tables.row(predicted(basis=said), 'a.png')
  assert row['method'] == 'cascade:phantom, assessor'
  assert row['version'] == '0.1'
  assert row['trained_on'] == f'phantoms; {basis.SYNTHETIC}'
  assert basis.SYNTHETIC in said.sentence
  real = said._replace(data='RSNA', synthetic=False)
  assert real.trained_on == 'RSNA'
  assert real.sentence == (
    'cascade:phantom, assessor, boneage_jax 0.1, trained on RSNA.'
  )


def test_rows_become_a_table(tmp_path):
  rows = [tables.row(predicted(sex=sex), f'{sex}.png') for sex in ('M', 'F')]
  with row_file.RowFile(str(tmp_path)) as written:
    for row in rows:
      written.add(row)
  with open(tmp_path / 'predictions.csv', newline='') as file:
    assert list(csv.DictReader(file)) == rows


def test_a_map_of_ages_and_a_deformation_are_said():
  pose = age_maps.Pose(-4.24, 0.951, 1.02, 0.03, -0.012, False)
  film = predicted(
    regions={}, age_map=np.array([[120.0, 131.04]]), deformation=pose
  )
  assert tables.format_line(film) == (
    '10 y 6 mo (126.0 months), 120.0 to 131.0 months at 1 x 2 places; '
    'frame turned counter-clockwise by 4.2 degrees, 95.1 % wide and 102.0 % '
    'high, shifted right by 3.0 % and up by 1.2 % of the side'
  )
  row = tables.row(film, 'film.png')
  assert row['age_map_low'] == '120.0000' and row['age_map_high'] == '131.0400'
  assert row['deformation_turn_deg'] == '-4.24000'
  assert row['deformation_down'] == '-0.01200'


class MapNet:
  """Gives a map of ages, whatever the film."""

  batch_size, builder_config, inverted = 1, 'original', False
  sexes = ('M', 'F', 'unknown')
  inputs = ()

  def __init__(self, ages, step=2):
    self.ages = np.array(ages, np.float32)
    self.places = age_maps.Places((4, 4), ((step, 1.0),) * 2, (0, 0, 4, 4))

  def outputs(self, records, memo):
    film = localize.Film('0', 0.0, IMAGE, {})
    matrix = np.array([[[1.0, 0, 0.5], [0, 1, 0]]])
    rows = {'age_map': self.ages[None], 'deformation': matrix}
    return {'age': self.ages[None].mean((1, 2)), **rows}, [film]


def test_maps_of_nets_are_averaged_where_they_lie_alike():
  first = MapNet([[100, 120], [110, 90]])
  second = MapNet([[104, 104], [104, 112]])
  film = ensemble.Ensemble([first, second], [0.75, 0.25]).predict(IMAGE, 'F')
  np.testing.assert_allclose(film.age_map, [[101, 116], [108.5, 95.5]])
  assert film.age_predicted == pytest.approx(film.age_map.mean())
  assert film.deformation is None  # each has its own
  assert film.overlay.shape == (440, 440, 3)
  alone = ensemble.Ensemble([first]).predict(IMAGE, 'F')
  assert alone.deformation.right == pytest.approx(0.25)

  other = MapNet([[100.0, 104, 96]], step=1)
  film = ensemble.Ensemble([first, other]).predict(IMAGE, 'F')
  assert film.age_predicted == pytest.approx(102.5) and film.age_map is None


def test_intervals_of_an_ensemble_are_not_those_of_its_members():
  def member(age, *flags):
    def outputs(records, memo):
      films = [
        localize.Film(one['id'], one['sex'], IMAGE, {}, quality_flags=flags)
        for one in records
      ]
      return {'age': np.full(len(films), age)}, films

    return types.SimpleNamespace(
      outputs=outputs,
      batch_size=1,
      builder_config='original',
      inverted=False,
      places=None,
      inputs=(),
      sexes=('M', 'F', 'unknown'),
    )

  members = [member(100.0), member(140.0, 'sharpness')]
  net = ensemble.Ensemble(members, [0.75, 0.25], calibration(20, 30))
  film = net.predict(IMAGE, 'F')
  assert film.age_predicted == pytest.approx(110)
  assert film.intervals[80] == pytest.approx((90, 130))
  assert film.quality_flags == ('sharpness',) and film.status == 'check'
  assert ensemble.Ensemble(members).predict(IMAGE, 'F').intervals == {}
  members[1].inverted = True
  with pytest.raises(ValueError, match='of one polarity, got both'):
    ensemble.Ensemble(members)


@pytest.mark.parametrize('inverted', [False, True])
def test_sentences_say_what_to_do(inverted):
  said = quality.sentence('polarity', inverted)
  looks, own = ('bright', 'dark') if inverted else ('dark', 'bright')
  assert f'bones look {looks}, but those of the films of this' in said
  assert f'run are {own}' in said
  assert said.endswith('polarity=keep' if inverted else 'polarity=invert')
  said = quality.sentence('sharpness', inverted)
  assert 'Take the film as it was first stored' in said


@pytest.mark.parametrize('synthetic', [True, False])
def test_each_sentence_of_a_caption_has_one_full_stop(synthetic, monkeypatch):
  captions = []
  monkeypatch.setattr(
    overlay, 'captioned', lambda picture, text: captions.append(text)
  )
  said = basis.Basis('larson, assessor', '9.9', 'A, labels bb52', synthetic)
  views.picture(predicted(basis=said))
  views.picture(predicted(age_predicted=float('nan'), reason='No film. Stop.'))
  age, refused = captions
  assert age.startswith('10 y 6 mo (126.0 months), regions found: ')
  assert 'carpal. larson, assessor, boneage_jax 9.9, ' in age
  assert refused == (
    'refused, no age: No film. Stop. For research, not for diagnosis.'
  )
  for text in captions:
    assert '..' not in text and text.endswith('. ' + views.NOTICE)
