"""Quality flags of headers and of answers, their status and their sentences."""

import dicom_film
import numpy as np
import pytest

from boneage_jax.imaging import boxes
from boneage_jax.imaging import codec
from boneage_jax.inference import quality

BOX = (0.25, 0.5, 0.75, 1.0)


def test_flags_of_headers_and_answers():
  header = lambda **fields: quality.flags_of_header(fields)
  assert header() == header(body_part='Hand', ages_said=[126.0]) == ()
  assert header(view='PA ') == () and header(view='LL') == ('view',)
  both = header(body_part='CHEST', ages_said=[126.0, 246.0])
  assert both == ('body_part', 'adult')
  found = boxes.Region(BOX, 0.5, True)
  lost = boxes.Region(boxes.WHOLE_FILM, 0.0, False)
  answer = quality.flags_of_answer
  assert answer({'carpal': found}, None) == ()
  assert answer({'carpal': lost}, np.array([0.2, 0.5, 0.3])) == ('region',)
  assert answer({}, np.array([0.5, 0.3, 0.2])) == ('bin_end',)
  assert answer({}, np.array([0.2, 0.3, 0.5])) == ('bin_end',)


@pytest.mark.parametrize(
  ('part', 'is_hand'),
  [
    *((x, True) for x in ('HAND', 'LEFT WRIST', 'UP_EXM', 'Up Exm')),
    *((x, True) for x in ('EXTREMITY', 'UPPER EXTREMITY', 'EXTREMITIES')),
    *((x, True) for x in ('LEFT LOWER ARM AND HAND', 'METACARPAL')),
    *((x, False) for x in ('LOWER EXTREMITY', 'lower_extremity', 'CHEST')),
    *((x, False) for x in ('LOWEREXTREMITY', 'LOW EXTREMITY', 'EXTREMITY LEG')),
    *((x, False) for x in ('FOOT (EXTREMITY)', 'EXTREMITIES, LOWER')),
  ],
)
def test_which_parts_of_the_body_are_hands(part, is_hand):
  flagged = 'body_part' in quality.flags_of_header({'body_part': part})
  assert flagged != is_hand


@pytest.mark.parametrize(
  ('born', 'age', 'is_adult'),
  [
    ('19700101', '', True),
    ('', '300M', True),
    ('', '020Y', True),
    ('', '019Y', False),
    ('', '239M', False),
    ('20140101', '010Y', False),
    ('19000101', '010Y', True),  # of two that contradict each other, one
    ('18500101', '', True),  # above the most that nets are given
  ],
)
def test_adults_are_flagged_however_a_header_says_it(born, age, is_adult):
  tags = {'PatientBirthDate': born, 'StudyDate': '20240101', 'PatientAge': age}
  header = codec.read(dicom_film.encoded(**tags)).header
  assert ('adult' in quality.flags_of_header(header)) == is_adult


def test_every_flag_has_a_status_and_a_sentence():
  assert quality.status(()) == 'ok'
  for flag in (*quality.SENTENCES, *quality.OF_FILE, 'sharpness', 'polarity'):
    refused = flag in ('not_a_hand', 'two_hands', 'blank', 'half_hand')
    assert quality.status([flag]) == ('refused' if refused else 'check')
    assert len(quality.sentence(flag, False)) > 20
