"""SDS by a norm that the user brings."""

import made_prediction
import pytest

from boneage_jax.inference import reference

TABLE = 'sex,age,mean,sd\nF,120,118,10\nF,132,134,14\nM,120,110,12\n'


@pytest.fixture
def norm(tmp_path):
  path = tmp_path / 'norm.csv'
  path.write_text(TABLE)
  return reference.read(str(path))


def film(**changes):
  return made_prediction.made(**{'age_predicted': 126.04} | changes)


def test_between_two_ages_of_the_norm(norm):
  # At 126 months the mean is 126 and the sd 12; the film says 126.04.
  found = reference.with_sds(film(chronological_age=126.0), norm)
  assert found.sds == pytest.approx(0.04 / 12)
  assert reference.why_none(found, norm) == ''
  found = reference.with_sds(film(chronological_age=120.0), norm)
  assert found.sds == pytest.approx(0.804)


@pytest.mark.parametrize(
  ('changes', 'why'),
  [
    ({}, 'the chronological age is not known; give --chronological_age'),
    ({'chronological_age': 133.0}, 'of girls reaches from 120 to 132 months'),
    ({'chronological_age': 121.0, 'sex': 'M'}, 'boys reaches from 120 to 120'),
    ({'chronological_age': 121.0, 'sex': 'unknown'}, 'the sex is unknown'),
  ],
)
def test_none_where_the_norm_does_not_reach(norm, changes, why):
  found = reference.with_sds(film(**changes), norm)
  assert found.sds is None
  assert why in reference.why_none(found, norm)
  assert reference.with_sds(film(**changes), None).sds is None


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('sex,age,mean\nF,1,1\n', 'expected a table with the columns sex, age'),
    ('', 'got no rows'),
    (TABLE + 'F,140,150,0\n', 'line 5: expected a sex M or F, numbers, and an'),
    (TABLE + 'girl,140,150,9\n', 'line 5: .* got sex=girl, age=140'),
    (TABLE + 'F,x,150,9\n', 'line 5: .* age=x'),
    (TABLE + 'F,120,150,9\n', 'each age of the sex F once'),
  ],
)
def test_tables_that_are_no_norm(tmp_path, text, message):
  path = tmp_path / 'norm.csv'
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    reference.read(str(path))
