"""Which films are not as those that a run was trained on, and what to say.

Nothing is changed unasked: a film that is flagged is read as it is. Flags of
REFUSING withhold the age; all others ask for a look at the film.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import re
from typing import Any

import numpy as np

from boneage_jax.imaging import codec
from boneage_jax.imaging import polarity
from boneage_jax.imaging import sharpness
from boneage_jax.regions import placement

OK, CHECK, REFUSED = 'ok', 'check', 'refused'
REFUSING = ('not_a_hand', 'two_hands', 'blank', 'half_hand')
# Notes of `codec` that are flags.
OF_FILE = ('window', 'rescale', 'for_processing', 'aspect')
OF_HEADER = (
  'body_part',
  'view',
  'adult',
)  # of DICOM, where headers are often wrong
ADULT = 20  # years
VIEWS = ('', 'AP', 'PA', 'DP', 'PD', 'FRONTAL')  # of a hand that lies flat
PARTS = ('HAND', 'WRIST', 'FINGER', 'UP EXM', 'CARPAL')
LIMB = 'EXTREMIT'  # the arm, unless a word begins so:
LEG = ('LOW', 'LEG', 'FOOT', 'FEET', 'INFERI', 'UNTERE')
SENTENCES = {
  'not_a_hand': 'the film does not show a hand: give a film of one hand',
  'two_hands': (
    'the film shows two hands, or two films are one picture: --two_hands=left, '
    'right or both cuts them apart'
  ),
  'blank': 'the film is blank or saturated: export it with another window',
  'half_hand': 'about half of the hand is missing: give a film of all of it',
  'wrist_cut': 'the wrist seems to be cut off: look at the film',
  'tips_cut': 'finger tips seem to be cut off: look at the film',
  'rotated': 'the hand seems not to be upright: turn the film, fingers up',
  'mirrored': (
    'it seems to be a right hand, or a mirrored film; compare with the films '
    'of the run, and mirror it if these are left hands'
  ),
  'noise': 'the film is noisier than films of the run: do not trust this age',
  'jpeg': 'the film has blocks of heavy JPEG: take it as it was first stored',
  'metal': 'there seems to be metal on the hand: look at the film',
  'cast': 'the hand seems to be in a cast: look at the film',
  'unusual': 'no film of the run looks like it to the nets: look at the film',
  'apart': 'the members of the ensemble do not agree: look at the film',
  'region': 'a region was not found: the whole film stands in for it',
  'bin_end': 'the most probable month is the first or the last that there is',
  'body_part': 'the DICOM header names another part of the body than the hand',
  'view': 'the DICOM header names another view than that of a flat hand',
  'adult': f'the DICOM header says an age of {ADULT} years or more',
}


def flags(film: np.ndarray, size: int | Sequence[int]) -> tuple[str, ...]:
  """Name the checks that a film fails: 'polarity', 'sharpness'.

  Args:
    film: uint8 [H, W], bones bright if the film is as the run's are.
    size: `input.size` of the net that sees the whole film.
  """
  checks = {
    'polarity': polarity.looks_inverted(film),
    'sharpness': sharpness.lacks_detail(film, size),
  }
  return tuple(name for name, fails in checks.items() if fails)


def flags_of_hand(hand: placement.Hand | None) -> tuple[str, ...]:
  """Name what is wrong with how a film was registered: 'registration'."""
  failed = hand is not None and hand.placed.status == placement.FAILED
  return ('registration',) if failed else ()


def flags_of_answer(
  regions: Mapping[str, Any], probability: np.ndarray | None
) -> tuple[str, ...]:
  """Name what is wrong with what nets found: 'region', 'bin_end'.

  Args:
    regions: of the film, each with `found`.
    probability: of the months [N]; None for a net without bins.
  """
  missing = any(not region.found for region in regions.values())
  at_end = False
  if probability is not None and len(probability):
    at_end = int(np.argmax(probability)) in (0, len(probability) - 1)
  pairs = {'region': missing, 'bin_end': at_end}
  return tuple(name for name, fails in pairs.items() if fails)


def flags_of_header(header: Mapping[str, Any]) -> tuple[str, ...]:
  """Name what a DICOM header says against a film, of OF_HEADER."""
  part = str(header.get('body_part', '')).strip()
  ages = header.get('ages_said', ())
  pairs = {
    'body_part': bool(part) and not _is_of_arm(part),
    'view': str(header.get('view', '')).strip().upper() not in VIEWS,
    # One is enough: where two contradict each other, nobody knows.
    'adult': any(months >= 12 * ADULT for months in ages),
  }
  return tuple(name for name, fails in pairs.items() if fails)


def _is_of_arm(part: str) -> bool:
  """Whether a part of the body is the hand, or what it belongs to."""
  words = re.findall('[A-Z]+', part.upper())
  text = ' '.join(words)
  if any(name in text for name in PARTS):
    return True
  return LIMB in text and not any(word.startswith(LEG) for word in words)


def status(flags: Sequence[str]) -> str:
  """Return OK, CHECK or REFUSED of a film's flags."""
  if any(flag in REFUSING for flag in flags):
    return REFUSED
  return CHECK if flags else OK


def sentence(flag: str, inverted: bool) -> str:
  """Say what a flag means and what to do.

  Args:
    flag: of `flags`, `flags_of_hand` or `OF_FILE`.
    inverted: whether films of the run have dark bones.
  """
  if flag in OF_FILE:
    return codec.NOTES[flag]
  if flag in SENTENCES:
    return SENTENCES[flag]
  if flag == 'sharpness':
    return (
      'the film is blurred, or has too few pixels, for the net that sees all '
      'of it: do not trust this age. Take the film as it was first stored'
    )
  if flag == 'registration':
    return (
      'the hand was not found, so that all of the film stands in for each '
      'region: do not trust this age. Take an upright film of one whole hand'
    )
  own, film = ('dark', 'bright') if inverted else ('bright', 'dark')
  setting = 'keep' if inverted else 'invert'
  return (
    f'the bones look {film}, but those of the films of this run are {own}: do '
    'not trust this age. Invert the film (255 - grey) and read it again; a run '
    f'for such films is trained with --config.STAGE.input.polarity={setting}'
  )
