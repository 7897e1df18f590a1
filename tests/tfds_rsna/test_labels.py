"""Ages in months and in years."""

import re

import dummy_archive
import pytest

from tfds_rsna import build
from tfds_rsna import labels


def write(path, ages, column='boneage'):
  rows = [(i, age, 'True') for i, age in enumerate(ages, 1)]
  dummy_archive.write_table(path, [('id', column, 'male'), *rows])
  return path


@pytest.mark.parametrize(
  'ages, why',
  [
    ([5.5, 12.25, 17.9], 'from 5.5 to 17.9 .* none of 3 is 25 or more'),
    ([5, 12, 18], 'none of 3 is 25 or more'),
    ([60.5, 120.2, 180, 200], '2 of 4 have fractions'),
    ([30, 120, 180], ''),
    ([30.5, 120, 180, 190], ''),
  ],
)
def test_ages_that_may_be_years_are_noted(tmp_path, ages, why):
  *_, found = labels.read(write(tmp_path / 'train.csv', ages))
  assert len(found) == bool(why)
  if why:
    match = rf'train.csv: ages .*{why}. Where .*--config.data.age_unit=years'
    assert re.search(match, found[0])


def test_means_of_readers_in_months_are_not_doubted(tmp_path):
  column = 'Ground truth bone age (months)'
  path = write(tmp_path / 'test.csv', [60.5, 120.2, 211], column)
  assert not labels.read(path)[2]


def test_years_become_months(tmp_path):
  path = write(tmp_path / 'train.csv', [0, 5.5, 17.75, 20, 20.5])
  good, bad, notes = labels.read(path, 'years')
  assert [label.age for label in good] == [0, 66, 213, 240]
  assert not notes
  reason = "bone age '20.5' is not a number of years from 0 to 20 (line 6)"
  assert bad == [['5', f'train.csv: {reason}']]


@pytest.mark.parametrize('unit', labels.UNITS)
def test_a_header_that_names_the_unit_is_believed(tmp_path, unit):
  path = write(tmp_path / 'train.csv', [5, 6], f'Bone Age ({unit})')
  assert len(labels.read(path, unit)[0]) == 2
  other = labels.UNITS[1 - labels.UNITS.index(unit)]
  with pytest.raises(ValueError, match=rf"\({unit}\)' has ages in {unit}, but"):
    labels.read(path, other)
  with pytest.raises(ValueError, match="one of months, years, got 'weeks'"):
    labels.read(path, 'weeks')


def test_the_builder_takes_the_unit(tmp_path):
  manual_dir = dummy_archive.create(tmp_path)
  write(manual_dir / f'{dummy_archive.TRAIN}.csv', [5.5, 8, 12, 17.75])
  data = tmp_path / 'data'
  built = build.build(manual_dir, data, age_unit='years')
  ages = {i: r['age'] for i, r in dummy_archive.read_back(built).items()}
  assert ages == {'1': 66, '2': 96, '3': 144, '4': 213}
  summary = dummy_archive.info(built)
  assert summary['age_unit'] == 'years' and not summary['notes']
  assert build.build(manual_dir, data, age_unit='years') == built
  message = 'its ages were read as years, not as months'
  with pytest.raises(ValueError, match=message):
    build.build(manual_dir, data)
  other = dummy_archive.info(build.build(manual_dir, tmp_path / 'other'))
  assert 'ages from 5.5 to 17.75 are read as months' in other['notes'][0]
