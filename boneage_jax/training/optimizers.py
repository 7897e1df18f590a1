"""Optimizers: schedules, weight decay, clipping and frozen layers."""

import collections
from collections.abc import Sequence
import re
from typing import Any

import jax
import optax


def schedule(config: Any, total_steps: int) -> optax.Schedule:
  """Learning rate by update.

  config.schedule: 'constant'; 'cosine' to zero after `warmup` (a share of all
  steps); 'inverse' lr / (1 + config.lr_decay * t), the "decay" of Chirawu's
  report (2022); or 'steps', which multiplies by each of `config.lr_factors` at
  `config.boundaries`, shares of all steps. Boundaries that fall on one step
  multiply by all their factors.
  """
  lr, warmup = config.learning_rate, round(config.warmup * total_steps)
  if config.schedule == 'constant':
    after = optax.constant_schedule(lr)
  elif config.schedule == 'cosine':
    after = optax.cosine_decay_schedule(lr, max(total_steps - warmup, 1))
  elif config.schedule == 'inverse':
    after = lambda t: lr / (1 + config.lr_decay * t)
  elif config.schedule == 'steps':
    if len(config.boundaries) != len(config.lr_factors):
      raise ValueError(
        'Expected one factor for each boundary, got optimizer.boundaries='
        f'{config.boundaries} and optimizer.lr_factors={config.lr_factors}.'
      )
    at = collections.defaultdict(lambda: 1.0)
    for b, f in zip(config.boundaries, config.lr_factors, strict=True):
      at[round(b * total_steps) - warmup] *= f
    after = optax.piecewise_constant_schedule(lr, dict(at))
  else:
    raise ValueError(
      f'optimizer.schedule={config.schedule!r} is unknown; choose '
      "'constant', 'cosine', 'inverse' or 'steps'."
    )
  if not warmup:
    return after
  ramp = optax.linear_schedule(0.0, lr, warmup)
  return optax.join_schedules([ramp, after], [warmup])


def paths(params: Any) -> Any:
  """Tree of 'a/b/c' names, one per array, for matching by regex."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: jax.tree_util.keystr(path, simple=True, separator='/'),
    params,
  )


def create(
  config: Any, params: Any, total_steps: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """Make the update rule for `params` (nested dicts of arrays).

  config: `name` ('adam', 'adamw', 'sgd', 'rmsprop'), `weight_decay` (of 'adamw'
  decoupled; of 'sgd' added to the gradient, as PyTorch does),
  `weight_decay_on` ('kernels', or 'all' parameters), `b1`, `nesterov` (of
  'sgd'), `eps` (of Adam and RMSProp), `grad_clip_norm` (global norm, 0 for
  none), `rates` (pairs of a regex on parameter paths and a factor of the rate
  there; the first that matches), `freeze` (regex on parameter paths such as
  '^backbone/stem'; '' for none) and the schedule.

  Raises:
    ValueError: unknown name, a `freeze` that matches no or all parameters, or
      `rates` that are no such pairs or match none.
  """
  if config.weight_decay_on not in ('kernels', 'all'):
    raise ValueError(
      f'optimizer.weight_decay_on={config.weight_decay_on!r} is unknown; '
      "choose 'kernels' or 'all'."
    )
  if config.name in ('adam', 'rmsprop') and config.weight_decay:
    raise ValueError(
      f'optimizer.name={config.name!r} has no weight decay, got '
      f"{config.weight_decay}; choose 'adamw'."
    )
  rate = schedule(config, total_steps)
  every = config.weight_decay_on == 'all'
  decay = jax.tree.map(lambda p: every or p.ndim > 1, params)
  if config.name in ('adam', 'adamw'):
    rule = optax.adamw(
      rate,
      b1=config.b1,
      eps=config.eps,
      weight_decay=config.weight_decay,
      mask=decay,
    )
  elif config.name == 'sgd':
    rule = optax.chain(
      optax.add_decayed_weights(config.weight_decay, mask=decay),
      optax.sgd(rate, momentum=config.b1, nesterov=config.nesterov),
    )
  elif config.name == 'rmsprop':
    rule = optax.rmsprop(rate, decay=0.9, eps=config.eps)  # as Keras has it
  else:
    raise ValueError(
      f'optimizer.name={config.name!r} is unknown; choose '
      "'adam', 'adamw', 'sgd' or 'rmsprop'."
    )
  if config.grad_clip_norm:
    rule = optax.chain(optax.clip_by_global_norm(config.grad_clip_norm), rule)
  if config.get('rates'):
    rule = optax.chain(rule, _scale_rates(config.rates, params))
  if config.freeze:
    labels = jax.tree.map(
      lambda path: 'frozen' if re.search(config.freeze, path) else 'trained',
      paths(params),
    )
    kinds = set(jax.tree.leaves(labels))
    if kinds != {'frozen', 'trained'}:
      raise ValueError(
        f'optimizer.freeze={config.freeze!r} matches '
        f'{"every" if kinds == {"frozen"} else "no"} parameter; paths look '
        f'like {jax.tree.leaves(paths(params))[0]!r}.'
      )
    rule = optax.partition(
      {'trained': rule, 'frozen': optax.set_to_zero()}, labels
    )
  return rule, rate


def _scale_rates(
  rates: Sequence[tuple[str, float]], params: Any
) -> optax.GradientTransformation:
  """Multiply updates by the factor of the first regex that their path matches.

  What comes before has scaled them by the rate, so that this factor is one of
  the rate, of weight decay too.
  """
  names = jax.tree.leaves(paths(params))
  for pair in rates:
    if len(pair) != 2 or not isinstance(pair[0], str) or not pair[1] > 0:
      raise ValueError(
        'Expected optimizer.rates as pairs of a regex and a factor above 0, '
        f"such as (('^backbone/', 0.1),), got {pair!r}; to stop parameters, "
        'set optimizer.freeze.'
      )
    if not any(re.search(pair[0], name) for name in names):
      raise ValueError(
        f'optimizer.rates: {pair[0]!r} matches no parameter; paths look like '
        f'{names[0]!r}.'
      )

  def scale(path, update):
    found = (f for regex, f in rates if re.search(regex, path))
    return next(found, 1.0) * update

  return optax.stateless(
    lambda updates, _: jax.tree.map(scale, paths(updates), updates)
  )
