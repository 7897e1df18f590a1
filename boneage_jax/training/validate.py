"""Settings of a stage that trains a net, checked before any stage runs."""

from collections.abc import Iterator
import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp

from boneage_jax.core import distributed
from boneage_jax.core import extend
from boneage_jax.core import ids
from boneage_jax.core import scalars
from boneage_jax.core import sizes
from boneage_jax.data import film_table
from boneage_jax.imaging import geometry
from boneage_jax.imaging import masks
from boneage_jax.models.heads import age_map
from boneage_jax.models.weights import load as load_weights
from boneage_jax.runs import lineage
from boneage_jax.training import check_options
from boneage_jax.training import check_ranges
from boneage_jax.training import forward
from boneage_jax.training import initial_bias
from boneage_jax.training import losses
from boneage_jax.training import optimizers
from boneage_jax.training import restore
from boneage_jax.training import step as train_step
from boneage_jax.training import tasks
from boneage_jax.training.losses import attention as attention_losses
from tfds_rsna import tfds_rsna_dataset_builder as rsna

MAPLESS = ('conv_pool', 'mlp', *age_map.POOLS)  # pools that tell no attention
# What the head of a net tells, by task, where a net has several heads.
OUTPUTS = {
  'age': ('bins', 'scalar', 'standardized', 'unit'),
  'classification': ('classes',),
  'orientation': ('classes',),
}


def check_stage(config: Any, stage: str, workdir: str) -> None:
  """Check the section of a net: values, weights and what it starts from.

  Parameters are never made: shapes are enough.

  Raises:
    ValueError: a value that cannot be trained with; names the field.
  """
  section = config[stage]
  check_input(section.input, f'{stage}.input')
  choose(section, stage, 'checkpoint_selection', ('best', 'last'))
  check_options.check(section, stage)
  devices = jax.device_count()
  for field in ('batch_size', 'eval_batch_size'):
    if section[field] < 1 or section[field] % devices:
      raise ValueError(
        f'Expected {stage}.{field} to be divisible by {devices} devices, got '
        f'{section[field]} films: change --config.{stage}.{field}.'
      )
  if min(section.steps, section.epochs) < 0 or not (
    section.steps or section.epochs or section.init_from.run
  ):
    raise ValueError(
      f'Expected {stage} to train for epochs or steps, or to take the net of '
      f'init_from.run as it is, got {section.epochs} epochs and '
      f'{section.steps} steps: set --config.{stage}.epochs.'
    )
  with about(stage):
    forward.views(section)
    initial_bias.check(section)
    params, stats = abstract_net(section)
    optimizers.create(section.optimizer, params, total_steps=1000)
    weights = {k: v for k, v in section.pretrained.items() if v.path}
    load_weights.load_into_net(weights, section.net, params, stats)
  _check_task(config, stage)
  _check_guidance(section, stage)
  if before := lineage.parent_run(config, stage, workdir):
    with about(stage):
      extend.check(before[0], before[2])
      of = abstract_net(before[0][before[1]])
      restore.take((params, stats), of, section.init_from)
      mines = section.job == 'mine'
      if not (section.rounds if mines else section.steps or section.epochs):
        restore.check_same_net(config, stage, *before[:2])


def check_input(options: Any, name: str) -> None:
  """Check how films become net inputs; `name` is that of the section."""
  choose(options, name, 'polarity', ('keep', 'invert'))
  choose(options, name, 'sex', ('', 'M', 'F'))
  with about(name):
    geometry.fit_matrix((8, 8), (8, 8), options.resize)
  if bool(options.builder_config) == bool(options.crops_from):
    raise ValueError(
      f'Expected films or crops to read, got {name}.builder_config='
      f'{options.builder_config!r} and {name}.crops_from='
      f'{options.crops_from!r}: set one of them.'
    )
  if options.builder_config:
    check_builder_config(options, name)
  whole = ('erase_from', 'orientation_from', 'rotate90', 'masks', 'points')
  for field in whole:
    if options[field] and options.crops_from:
      raise ValueError(
        f'Expected whole films for {name}.{field}, got crops of '
        f'{options.crops_from!r}: set it where these are located.'
      )
  if options.regions and not options.crops_from:
    raise ValueError(
      f'Expected {name}.regions to name crops, got {options.regions} of no '
      f'stage: set --config.{name}.crops_from.'
    )
  if options.rotate90 and (options.masks or options.points):
    raise ValueError(
      f'Expected {name}.rotate90=False for a net of masks or points, as these '
      f'are drawn on upright films: change --config.{name}.rotate90.'
    )
  ends = tuple(options.percentiles)
  if ends and not (len(ends) == 2 and 0 <= ends[0] < ends[1] <= 100):
    raise ValueError(
      f'Expected {name}.percentiles to be () or two from 0 to 100, the lower '
      f'one first, got {ends}: change --config.{name}.percentiles.'
    )
  check_ranges.check(options, name, check_ranges.INPUT)


def check_builder_config(options: Any, name: str) -> None:
  """Check that the data set can be built as `options.builder_config`."""
  known = [one.name for one in rsna.Builder.BUILDER_CONFIGS]
  choose(options, name, 'builder_config', known)


def check_geometry_run(config: Any) -> None:
  """Check that a config whose masks and points come from a run names it."""
  if config.get('geometry_run') == '':
    raise ValueError(
      'Expected --config.geometry_run=RUN, the folder of a run of '
      'hand_geometry.py whose nets mask and register the films here, got none.'
    )


def check_held_out(
  config: Any, stage: str, workdir: str, films: film_table.Films
) -> None:
  """Check that the net that `stage` starts from saw none of its judges.

  Args:
    config, stage, workdir: `init_from` of the stage names a run and its stage.
    films: that the run has, with their split, whether somebody marked them or
      not: masks and points are told of all.

  Raises:
    ValueError: that net was trained on films that are held out here.
  """
  options = config[stage].init_from
  before = lineage.parent_run(config, stage, workdir)
  if not before or options.ids_are_unrelated:
    return
  seen = lineage.training_films(*before)
  if seen is None:
    distributed.print_once(
      f'{stage}: the data of {options.run} are gone, so that nobody knows '
      'whether it was trained on films that are held out here.'
    )
    return
  held_out = films['id'][films['split'] != 'train']
  shared = sorted(seen.intersection(held_out.tolist()), key=ids.sort_key)
  if shared:
    raise ValueError(
      f'{stage}.init_from.run={options.run!r} was trained on {len(shared)} '
      f'films that are held out here, such as {", ".join(shared[:5])}: errors '
      'on them would mean nothing. Split both runs alike, or, if these numbers '
      'stand for other films there, set '
      f'--config.{stage}.init_from.ids_are_unrelated=True.'
    )


def check_films(
  config: Any, stage: str, films: film_table.Films, trained: film_table.Films
) -> None:
  """Check that a net has films to train on and to be chosen by.

  Args:
    config, stage: of the net.
    films: that the run has, with their split.
    trained: those of them that train.

  Raises:
    ValueError: too few; names the flag.
  """
  size, count = config[stage].batch_size, len(trained['id'])
  if count < size:
    raise ValueError(
      f'{stage}: expected at least one batch of {size} films to train on, got '
      f'{count}: lower --config.{stage}.batch_size or add films.'
    )
  judged = films['split'] == 'validation'
  if config[stage].task == 'classification':
    judged &= films['label'] >= 0
  if not judged.any():
    raise ValueError(
      f'{stage}: expected validation films, got none'
      + (' with a label' if config[stage].task == 'classification' else '')
      + ': raise --config.data.validation_fraction, or with folds lower '
      '--config.data.folds.'
    )


def choose(section: Any, name: str, field: str, known: Any) -> None:
  """Check that a field has one of the known values."""
  if section[field] not in known:
    raise ValueError(
      f'Expected {name}.{field} to be one of {", ".join(known)}; got '
      f'{section[field]!r}: change --config.{name}.{field}.'
    )


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
  """Let errors of settings begin with the section that they are of."""
  try:
    yield
  except Exception as error:
    where = extend.place(error)  # of a user's own net or loss
    if not where and not isinstance(error, (TypeError, ValueError)):
      raise
    raise ValueError(f'{name}: {where}{error}') from error


def abstract_net(section: Any) -> tuple[dict, dict]:
  """Parameters and statistics of a stage's net, as shapes."""
  return train_step.abstract_net(*train_step.net_of(section))[1:]


def _check_task(config: Any, stage: str) -> None:
  """Check that task, net, loss and the run's classes fit."""
  section = config[stage]
  with about(stage):
    tasks.create(section)
  own_net = extend.is_own('net', section.net.name)
  output = section.net.get('output')
  known = () if own_net else OUTPUTS.get(section.task)
  if known and output not in known:
    raise ValueError(
      f'Expected {stage}.net.output to be {", ".join(known)} for the task '
      f'{section.task!r}, got {output!r} of {section.net.name}: change one of '
      'them.'
    )
  if (section.task == 'orientation') != section.input.rotate90:
    raise ValueError(
      f'Expected {stage}.input.rotate90 with the task orientation alone, got '
      f'rotate90={section.input.rotate90} and the task {section.task!r}.'
    )
  with about(stage):
    tasks.create(section).check(config, stage)
    options = losses.arguments(section)
  if own_net or extend.is_own('loss', section.loss.name):
    return  # see check_own
  loss = functools.partial(losses.LOSSES[section.loss.name], **options)
  with about(f'{stage}.loss.name={section.loss.name!r}'):
    try:
      losses.check_reads(loss, *_judged(section))
    except KeyError as error:
      raise ValueError(
        f'Expected a loss of the task {section.task!r}, got one that wants '
        f'{error}: change --config.{stage}.loss.name.'
      ) from error


def _judged(section: Any) -> tuple[dict[str, Any], dict[str, Any]]:
  """Return outputs of a stage's net and a batch, as its loss sees them."""
  column = jax.ShapeDtypeStruct((1,), jnp.float32)
  batch = {'age': column, 'valid': column}
  if section.task == 'keypoints':
    shape = (1, len(section.input.points), 2)
    points = {'points': jax.ShapeDtypeStruct(shape, jnp.float32)}
    return points, batch | points
  if section.task == 'segmentation':
    mask = (1, *sizes.size_hw(section.input.size))
    batch['region_mask'] = jax.ShapeDtypeStruct(mask, jnp.uint8)
    return {'mask': jax.ShapeDtypeStruct(mask, jnp.float32)}, batch
  output = section.net.output
  bins = section.net.get('classes') or 240
  wide = jax.ShapeDtypeStruct((1, bins), jnp.float32)
  outputs = {'logits': wide} if output in ('bins', 'classes') else {}
  batch |= dict.fromkeys(('sex', *scalars.SCALARS), column)
  if names := section.net.get('extra_outputs'):
    outputs['raw'] = outputs['extra'] = dict.fromkeys(names, column)
  if output == 'classes':
    return outputs, batch | {'label': jax.ShapeDtypeStruct((1,), jnp.int32)}
  return outputs | {'age': column}, batch


def _check_guidance(section: Any, stage: str) -> None:
  """Check what draws attention to masks, and whether masks can come along."""
  kinds, weight = tuple(section.guidance.mask), section.guidance.weight
  options = {k: v for k, v in section.guidance.items() if k != 'mask'}
  with about(stage):
    masks.check(section.guidance.mask)
    attention_losses.guided(losses.LOSSES['mae'], **options)
  if weight and not kinds:
    raise ValueError(
      f'Expected kinds of masks in {stage}.guidance.mask, as its weight is '
      f'{weight}, got none: give some of {", ".join(masks.KINDS)}.'
    )
  whole = section.net.name == 'age_net' and not section.input.crops_from
  if kinds and (not whole or section.net.pool in MAPLESS):
    raise ValueError(
      f'Expected {stage} to be an age_net of whole films whose pool tells '
      f'attention, as guidance.mask names masks, got {section.net.name}, pool '
      f'{section.net.pool!r}, of {section.input.crops_from or "whole films"}: '
      f'set --config.{stage}.guidance.mask="()".'
    )
