"""Sentences for people at the page, who give no flags to commands."""

from collections.abc import Iterator

from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import views

TWO_HANDS = (
  'the film shows two hands, or two films are one picture: cut it in the '
  'middle and send one part'
)


def messages(
  prediction: prediction_lib.Prediction, header_sex: str, inverted: bool
) -> Iterator[str]:
  """Yield what to know before trusting a prediction; see `views.warnings`."""
  return views.warnings(prediction, header_sex, inverted, sentence)


def sentence(flag: str, inverted: bool) -> str:
  """Say what a flag means and what to do; see `quality.sentence`."""
  if flag == 'two_hands':
    return TWO_HANDS
  if flag == 'polarity':
    own, film = ('dark', 'bright') if inverted else ('bright', 'dark')
    return (
      f'the bones look {film}, but those of the films that these nets know are '
      f'{own}: do not trust this age. Invert the film and send it again'
    )
  return quality.sentence(flag, inverted)
