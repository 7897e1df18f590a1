"""Per-example losses: `LOSSES[name](outputs, batch, **params)`.

Every loss returns `(per_example [B], scalars)`, float32, months; `scalars` is a
dict of [B] arrays for the log. The caller takes the mean over valid examples,
so padding and any device count give the same number. Bins are 0, 1, ... months
and the age is the index.
"""

from collections.abc import Callable
from collections.abc import Mapping

import jax
from jax import numpy as jnp

Outputs = Mapping[str, jax.Array]
Scalars = dict[str, jax.Array]
Loss = Callable[..., tuple[jax.Array, Scalars]]


def expectation(logits: jax.Array) -> jax.Array:
  """Return the mean of softmax(logits) over bins 0, 1, ...

  Args:
    logits: [..., K], any float type; computed in float32.

  Returns:
    [...] float32, months (Chen 2020, eq. 8).
  """
  logits = logits.astype(jnp.float32)
  bins = jnp.arange(logits.shape[-1], dtype=jnp.float32)
  return jnp.sum(jax.nn.softmax(logits) * bins, -1)


def triangular_label(
  age: jax.Array, bins: int = 240, half_width: float = 50.0
) -> jax.Array:
  """Return max(0, 1 - |k - age| / half_width), not normalised.

  Args:
    age: [B] months.
    bins: number of bins K.
    half_width: months from the peak (1) to zero.

  Returns:
    [B, K] float32 (Chen 2020, eq. 5 and `softlabel` of the authors' code).
  """
  distance = jnp.abs(_distance(age, bins))
  return jnp.maximum(0.0, 1.0 - distance / half_width)


def gaussian_label(
  age: jax.Array, bins: int = 240, delta: float = 15.0
) -> jax.Array:
  """Return the normal density about `age`, renormalised to sum 1 over bins.

  Args:
    age: [B] months.
    bins: number of bins K.
    delta: standard deviation in months.

  Returns:
    [B, K] float32 (Chen 2020, phase II). Ages near an end are truncated, which
    moves the mean inwards.
  """
  return jnp.exp(_log_gaussian(age, bins, delta))


def mse(
  outputs: Outputs, batch: Outputs, unit: float = 1.0
) -> tuple[jax.Array, Scalars]:
  """Squared error of the age (Li 2023, eq. 4), in units of so many months.

  The unit of a standard deviation of ages is that of standardized ones.
  """
  error = _error(outputs, batch)
  return (error / unit) ** 2, {'mae': jnp.abs(error)}


def mae(
  outputs: Outputs, batch: Outputs, unit: float = 1.0
) -> tuple[jax.Array, Scalars]:
  """Absolute error of the age, in units of so many months.

  A unit of 120 is the L1 of ages scaled to [-1, 1] (Iglovikov 2017).
  """
  error = jnp.abs(_error(outputs, batch))
  return error / unit, {'mae': error}


def smooth_l1(
  outputs: Outputs, batch: Outputs, beta: float = 3.0
) -> tuple[jax.Array, Scalars]:
  """Absolute error, quadratic below `beta` months and smooth there."""
  error = jnp.abs(_error(outputs, batch))
  small = 0.5 * error**2 / beta
  return jnp.where(error < beta, small, error - 0.5 * beta), {'mae': error}


def soft_label(
  outputs: Outputs, batch: Outputs, half_width: float = 50.0
) -> tuple[jax.Array, Scalars]:
  """Mean absolute error of linear outputs against triangular labels.

  Chen 2020 phase I: the labels are not normalised and the outputs have no
  softmax (authors' code, `main_classification.py`).
  """
  logits, age = _logits_and_age(outputs, batch)
  label = triangular_label(age, logits.shape[-1], half_width)
  loss = jnp.mean(jnp.abs(logits - label), -1)
  scalars = {'label_error': loss}
  if 'age' in outputs:
    scalars['mae'] = jnp.abs(_error(outputs, batch))
  return loss, scalars


def label_distribution(
  outputs: Outputs,
  batch: Outputs,
  delta: float = 15.0,
  kl_weight: float = 0.5,
) -> tuple[jax.Array, Scalars]:
  """Expectation L1 plus `kl_weight` times KL(Gaussian label || p).

  Chen 2020, eqs. 6 to 12; the paper writes the divergence one way and expands
  it the other, and the expansion is what is computed.
  """
  logits, age = _logits_and_age(outputs, batch)
  log_label = _log_gaussian(age, logits.shape[-1], delta)
  gap = log_label - jax.nn.log_softmax(logits)
  kl = jnp.sum(jnp.exp(log_label) * gap, -1)
  error = jnp.abs(age - expectation(logits))
  return error + kl_weight * kl, {'mae': error, 'kl': kl}


def age_and_sex(
  outputs: Outputs,
  batch: Outputs,
  delta: float = 15.0,
  kl_weight: float = 0.5,
  sex_weight: float = 5.0,
) -> tuple[jax.Array, Scalars]:
  """`label_distribution`, and `sex_weight` times the cross-entropy of the sex.

  Of a net with the extra output 'p_male'. Films of unknown sex have no part in
  it.
  """
  loss, scalars = label_distribution(outputs, batch, delta, kl_weight)
  logit = _get(_get(outputs, 'raw', 'outputs'), 'p_male', 'extra outputs')
  sex = _get(batch, 'sex', 'batch')
  logit, known = logit.astype(jnp.float32), (sex != 0).astype(jnp.float32)
  entropy = known * jax.nn.softplus(-sex * logit)
  wrong = known * (sex * logit <= 0)
  scalars |= {'sex_loss': entropy, 'sex_error': wrong}
  return loss + sex_weight * entropy, scalars


def cross_entropy(
  outputs: Outputs, batch: Outputs
) -> tuple[jax.Array, Scalars]:
  """Cross-entropy of classes; films with a negative `label` are left out.

  Scaled so that the mean over valid films is that over labelled ones.
  """
  logits = _get(outputs, 'logits', 'outputs').astype(jnp.float32)
  label = _get(batch, 'label', 'batch')
  labelled = ((label >= 0) & (batch['valid'] > 0)).astype(jnp.float32)
  share = jnp.sum(batch['valid']) / jnp.maximum(jnp.sum(labelled), 1)
  own = jnp.maximum(label, 0)[:, None]
  log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), own, -1)[:, 0]
  wrong = (jnp.argmax(logits, -1) != label).astype(jnp.float32)
  return -log_p * labelled * share, {'error': wrong * labelled * share}


LOSSES: dict[str, Loss] = {
  'cross_entropy': cross_entropy,
  'mse': mse,
  'mae': mae,
  'smooth_l1': smooth_l1,
  'soft_label': soft_label,
  'label_distribution': label_distribution,
  'age_and_sex': age_and_sex,
}


def _distance(age: jax.Array, bins: int) -> jax.Array:
  if age.ndim != 1:
    raise ValueError(
      f'The age must have shape [B], got {age.shape}: drop the last axis.'
    )
  months = jnp.arange(bins, dtype=jnp.float32)
  return months - age.astype(jnp.float32)[:, None]


def _log_gaussian(age: jax.Array, bins: int, delta: float) -> jax.Array:
  # Through log_softmax the far tails keep a finite logarithm.
  return jax.nn.log_softmax(-0.5 * (_distance(age, bins) / delta) ** 2)


def _get(values: Outputs, key: str, owner: str) -> jax.Array:
  if key not in values:
    raise ValueError(
      f'This loss needs `{key}` in the {owner}, got {sorted(values)}: choose'
      ' a head that gives it or another loss.'
    )
  return values[key]


def _error(outputs: Outputs, batch: Outputs) -> jax.Array:
  predicted = _get(outputs, 'age', 'outputs')
  age = _get(batch, 'age', 'batch')
  # [B, 1] against [B] would broadcast to [B, B] and still train.
  if predicted.ndim != 1 or predicted.shape != age.shape:
    raise ValueError(
      'Predicted and true age must both have shape [B], got'
      f' {predicted.shape} and {age.shape}: drop the extra axis in the head.'
    )
  return predicted.astype(jnp.float32) - age.astype(jnp.float32)


def _logits_and_age(
  outputs: Outputs, batch: Outputs
) -> tuple[jax.Array, jax.Array]:
  logits = _get(outputs, 'logits', 'outputs')
  age = _get(batch, 'age', 'batch')
  if logits.ndim != 2 or age.shape != logits.shape[:1]:
    raise ValueError(
      'Logits must have shape [B, bins] and the age [B], got'
      f' {logits.shape} and {age.shape}: mend the head.'
    )
  return logits.astype(jnp.float32), age.astype(jnp.float32)
