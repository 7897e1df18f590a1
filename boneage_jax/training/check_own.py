"""Whether a net or a loss of a user fits the other, by shapes alone."""

from collections.abc import Iterable
import functools
from typing import Any

import jax

from boneage_jax.core import extend
from boneage_jax.core import scalars
from boneage_jax.training import losses
from boneage_jax.training import restore
from boneage_jax.training import shapes
from boneage_jax.training import step as train_step
from boneage_jax.training import validate

PARTS = ('net', 'loss')


def check(
  config: Any, stage: str, numbers: Iterable[str] | None = None
) -> None:
  """Trace the net of a stage and its loss, where one of them is of a user.

  Args:
    config, stage: of the net.
    numbers: of `scalars.SCALARS` that the films have; None where films are not
      known, so that they may have all.

  Raises:
    ValueError: the net tells no age, or the loss reads what neither the net
      tells nor the films have.
  """
  numbers = scalars.SCALARS if numbers is None else numbers
  section = config[stage]
  own = {part: extend.is_own(part, section[part].name) for part in PARTS}
  if not any(own.values()):
    return
  graph, params, stats = train_step.abstract_net(*train_step.net_of(section))
  batch = shapes.batch(config, stage, 1, numbers=numbers)
  net = lambda variables, batch: restore.merge(graph, variables)(batch)
  with validate.about(stage):
    variables = {'params': params, 'batch_stats': stats}
    outputs = jax.eval_shape(net, variables, batch)
  shapes_of = jax.tree.map(lambda x: list(x.shape), outputs)
  if own['net'] and section.task == 'age' and shapes_of.get('age') != [1]:
    raise ValueError(
      f'{stage}: expected `age` [1], in months, among what net.name='
      f'{section.net.name!r} tells of one film, got {shapes_of}.'
    )
  loss = losses.LOSSES[section.loss.name]
  loss = functools.partial(loss, **losses.arguments(section))
  with validate.about(f'{stage}.loss.name={section.loss.name!r}'):
    try:
      losses.check_reads(loss, outputs, batch)
    except KeyError as error:
      wanted = error.args[0]
      if wanted in scalars.SCALARS:
        raise ValueError(
          f'Expected films with the number {wanted}, which the loss reads, got '
          f'none: write it ({scalars.SCALARS[wanted].unit}) in the column '
          f'{wanted} of the table of films, and prepare the data in a new '
          '--workdir.'
        ) from error
      raise ValueError(
        f'Expected a loss that reads what net.name={section.net.name!r} tells, '
        f'{", ".join(outputs)}, and what a batch holds, {", ".join(batch)}; '
        f'got one that wants {wanted!r}: mend the loss, or change '
        f'--config.{stage}.loss.name.'
      ) from error
