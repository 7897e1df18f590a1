"""Which films are not as those that a run was trained on, and what to say.

Nothing is changed unasked: a film that is flagged is read as it is.
"""

from collections.abc import Sequence

import numpy as np

from boneage_jax.imaging import codec
from boneage_jax.imaging import polarity
from boneage_jax.imaging import sharpness
from boneage_jax.regions import placement

OF_FILE = (
  'window',
  'rescale',
  'for_processing',
)  # notes of `codec` that are flags


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


def sentence(flag: str, inverted: bool) -> str:
  """Say what a flag means and what to do.

  Args:
    flag: of `flags`, `flags_of_hand` or `OF_FILE`.
    inverted: whether films of the run have dark bones.
  """
  if flag in OF_FILE:
    return codec.NOTES[flag]
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
