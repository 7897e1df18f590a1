"""Films of unknown sex, whose sex the net tells; and numbers beside the age."""

import json

from fake_nets import FakeNets
from made_prediction import made
import numpy as np
import pytest

from boneage_jax import api
from boneage_jax.data import film_table
from boneage_jax.imaging import png
from boneage_jax.inference import dicom_report
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_list
from boneage_jax.inference import one_film
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality_checks
from boneage_jax.inference import tables
from boneage_jax.inference import views

ARCHIVES = film_list.Archives()


class Nets(FakeNets):
  """Adds a tenth of the chronological age; a film's second grey is p_male."""

  inputs = ('chronological_age',)

  def outputs(self, records):
    outputs, films = super().outputs(records)
    outputs['age'] += [record['chronological_age'] / 10 for record in records]
    told = [film.image[0, 1] / 250 for film in films]
    return outputs | {'extra/p_male': np.array(told)}, films


def film(name, sex='unknown', p_male=0.8, **known):
  image = np.full((6, 6), 9, np.uint8)
  image[0, :2] = 7, round(250 * p_male)
  listed = film_table.Listed(name, sex, None, known, '')
  return film_list.Film(name, name, listed=listed, data=png.encode(image))


def both(p_male, **changes):
  each = ((140.0, 'M', 10), (100.0, 'F', 20))
  return prediction_lib.mixture(
    *(
      made(
        age_predicted=age,
        sex=sex,
        probability=np.eye(240)[int(age)],
        intervals={90: (age - reach, age + reach)},
        extra={} if p_male is None else {'p_male': p_male},
        **changes,
      )
      for age, sex, reach in each
    )
  )


def test_ages_are_weighted_by_what_the_net_says_of_the_sex():
  found = both(0.9)
  assert found.age_predicted == pytest.approx(0.9 * 140 + 0.1 * 100)
  assert found.probability[140] == pytest.approx(0.9)
  assert found.intervals[90] == (80, 150)  # holds whichever sex it is
  assert found.male_share_from == 'p_male'
  plain = both(None)
  assert (plain.age_predicted, plain.male_share) == (120, 0.5)
  assert plain.male_share_from == 'half_each'


def test_every_view_says_what_mixed_the_ages():
  found, plain = both(0.9), both(None)
  line = tables.format_line(found)
  assert line.endswith(
    '140.0 if male, 100.0 if female, weighted by the probability of a male '
    'that the net tells, 0.90'
  )
  assert tables.format_line(plain).endswith('if female, one half each')
  (report, *_) = dicom_report.groups(found)
  assert report.lines[0] == line
  row, half = (tables.row(one, 'a.png') for one in (found, plain))
  assert (row['male_share'], row['male_share_from']) == ('0.9000', 'p_male')
  assert (half['male_share'], half['male_share_from']) == (
    '0.5000',
    'half_each',
  )
  assert row['p_male'] == '0.9000' and 'p_male' not in half
  (text,) = views.JsonView().lines(found, row)
  said = json.loads(text)
  assert said['male_share'] == said['p_male'] == 0.9
  assert said['male_share_from'] == 'p_male'
  lines = list(views.CsvView().lines(found, row))
  assert 'p_male' in lines[0].split(',') and ',p_male,' in lines[1]
  refused = tables.row(both(0.9, quality_flags=('blank',)), 'a.png')
  assert {refused[n] for n in ('p_male', 'male_share', 'male_share_from')} == {
    ''
  }


def test_of_a_known_sex_the_net_says_what_it_sees():
  girl = made(extra={'p_male': 0.123})
  assert tables.format_line(girl).endswith('(100.0 months), p_male 0.123')
  row = tables.row(girl, 'a.png')
  assert row['p_male'] == '0.1230' and row['male_share'] == ''


def test_films_are_read_with_the_number_that_is_nearest_to_them():
  films = [film('a', chronological_age=50.0), film('b', 'M')]
  reading = film_batches.Reading(ARCHIVES, known={'chronological_age': 20.0})
  first, second = film_batches.predict(Nets(), films, reading)
  # 100, the first grey, the sex, a tenth of the age; 0.8 of a boy's.
  expected = 107 + 5 + 0.8 * 1 + 0.2 * -1
  assert first.prediction.age_predicted == pytest.approx(expected)
  assert first.prediction.chronological_age == 50
  assert second.prediction.age_predicted == 107 + 1 + 2


@pytest.mark.parametrize('months', [np.nan, -5.0, 9999.0, np.inf])
def test_a_number_that_cannot_be_is_refused(months):
  reading = film_batches.Reading(ARCHIVES, known={'chronological_age': months})
  bad, good = film_batches.predict(
    Nets(), [film('a', 'M'), film('b', 'M', chronological_age=1.0)], reading
  )
  said = 'Expected the chronological_age to be from 0 to 1500 months, got'
  assert bad.reason.startswith(said) and good.prediction is not None


@pytest.mark.parametrize('shape', [(1, 300), (300, 1), (3, 3), (8, 300)])
def test_strips_are_no_films(shape):
  image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
  with pytest.raises(ValueError, match=f'got {shape[1]} x {shape[0]} pixels'):
    one_film.predict(Nets(), image, 'M', {'chronological_age': 1.0})


def test_evidence_is_that_of_the_flag():
  measure = quality_checks.Measure
  boy, girl = (
    made(
      age_predicted=100.0,
      sex=sex,
      quality_flags=flags,
      evidence={'apart': measure(apart, 10.0), 'blank': measure(blank, 1.0)},
    )
    for sex, flags, apart, blank in (
      ('M', (), 2.0, 0.5),
      ('F', ('apart',), 12.0, 0.25),
    )
  )
  mixed = prediction_lib.mixture(boy, girl)
  assert mixed.evidence == {'apart': (12.0, 10.0), 'blank': (0.5, 1.0)}
  assert 'check: apart (12.00, limit 10.00)' in tables.format_line(mixed)


def test_a_film_without_a_number_that_nets_read_is_refused():
  films = [film('a'), film('b', chronological_age=1.0)]
  reading = film_batches.Reading(ARCHIVES)
  first, second = film_batches.predict(Nets(), films, reading)
  assert first.reason.startswith(
    'The chronological_age (months) is not known, and these nets read it: give '
    'it in the column chronological_age of a --table or with '
    '--chronological_age'
  )
  assert second.prediction is not None
  with pytest.raises(ValueError, match='nets read it: give it in the'):
    one_film.predict(Nets(), np.eye(4, dtype=np.uint8), 'M')


def test_a_run_from_python_takes_the_number():
  run = api.Run(Nets(), 'folder', 'stage')
  images = [np.full((6, 6), 9, np.uint8) + np.eye(6, dtype=np.uint8)] * 2
  known = [{'chronological_age': months} for months in (60.0, 160.0)]
  young, old = run.predict(images, 'F', known=known)
  assert old.age_predicted - young.age_predicted == pytest.approx(10)
  assert young.chronological_age == 60
  same = run.predict(images, 'F', known=known[0])
  assert {one.chronological_age for one in same} == {60}
  (without,) = run.predict(images[:1], 'F')
  assert 'chronological_age (months) is not known' in without.reason
  with pytest.raises(ValueError, match='one dict each, got 2 for 1 films'):
    run.predict(images[:1], 'F', known=known)
