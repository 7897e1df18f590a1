"""Where the last layer of a net of bins starts: at the ages of its films."""

from typing import Any

from jax import numpy as jnp
import numpy as np

from boneage_jax.models.heads import age as age_head

SMOOTH = 15.0  # months, standard deviation; ours
FLOOR = 1e-4  # of the probability: every bin is finite; ours
KINDS = ('', 'age_histogram')


def check(section: Any) -> None:
  """Refuse a start that the net of a stage cannot have.

  Raises:
    ValueError: an unknown start, or one for bins of a net without.
  """
  kind, net = section.init_bias, section.net
  if kind not in KINDS:
    raise ValueError(
      f'Expected init_bias to be one of {KINDS}, got {kind!r}: change '
      '--config.STAGE.init_bias.'
    )
  bins = (net.get('output'), net.get('readout')) == ('bins', 'expectation')
  if kind and not bins:
    raise ValueError(
      'Expected a net whose age is the expectation of bins for init_bias='
      f'{kind!r}, got the output {net.get("output")!r} and the readout '
      f"{net.get('readout')!r}: set --config.STAGE.init_bias=''."
    )


def log_histogram(ages: np.ndarray, bins: int = age_head.BINS) -> np.ndarray:
  """Return the logarithm of how often each age is, smoothed.

  Args:
    ages: months, [N], at least one.
    bins: months 0, 1, ... of the histogram; ages beyond are in the last one.

  Returns:
    float64 [bins]: of the share of films, smoothed by a Gaussian of SMOOTH
    months, plus FLOOR.
  """
  months = np.arange(bins)
  places = np.clip(np.rint(ages), 0, bins - 1).astype(int)
  share = np.bincount(places, minlength=bins) / len(places)
  bell = np.exp(-0.5 * ((months[:, None] - months) / SMOOTH) ** 2)
  return np.log(bell / bell.sum(0) @ share + FLOOR)


def begin(params: dict, ages: np.ndarray) -> dict:
  """Return parameters whose last layer starts at the films' ages.

  Args:
    params: of a net with an `age_head` of bins; a plain dict of arrays.
    ages: of its training films, months, [N].
  """
  head = params['age_head']
  old = head['fc']['bias']
  bias = jnp.asarray(log_histogram(ages, len(old)), old.dtype)
  return params | {'age_head': head | {'fc': head['fc'] | {'bias': bias}}}
