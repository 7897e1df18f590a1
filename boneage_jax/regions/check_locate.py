"""Checks of `locate` stages before the first stage runs."""

import jax
import numpy as np

from boneage_jax.core import stages
from boneage_jax.imaging import boxes
from boneage_jax.regions import gradcam
from boneage_jax.training import check_ranges
from boneage_jax.training import validate


def check(stage: stages.Stage) -> None:
  """Check what finds regions."""
  section, name = stage.section, stage.name
  net = stage.config[section.localizer].net
  validate.choose(section, name, 'target', gradcam.TARGETS)
  validate.choose(section, name, 'method', gradcam.METHODS)
  validate.check_builder_config(section.input, f'{name}.input')
  if net.name != 'age_net' or net.output == 'classes':
    raise ValueError(
      f'Expected {name}.localizer to be an age_net that tells ages, got '
      f'{net.name} with the output {net.get("output")!r}.'
    )
  if section.target != 'age' and net.output != 'bins':
    raise ValueError(
      f'Expected an age_net of bins for {name}.target={section.target!r}, got '
      f'the output {net.output!r}: set --config.{name}.target=age.'
    )
  if (section.target, net.output, net.readout) == ('age', 'bins', 'argmax'):
    raise ValueError(
      f"Expected an age with a gradient for {name}.target='age', got "
      f"{section.localizer}.net.readout='argmax', which has none: set "
      f'--config.{name}.target=window, or readout=expectation.'
    )
  for field in ('threshold', 'minimum_side'):
    if len(section[field]) != len(section.regions) or not section.regions:
      raise ValueError(
        f'Expected one {name}.{field} for each of {tuple(section.regions)}, '
        f'got {tuple(section[field])}.'
      )
  check_ranges.check(section, name, check_ranges.LOCATE)
  with validate.about(name):
    for threshold in section.threshold:
      boxes.box_from_map(np.ones((2, 2)), threshold, section.component)
    boxes.holes({}, (), section.fill, '0')
  found = [r for s in stage.locate_chain() for r in s.section.regions]
  for field, known in (
    ('erase', found),
    ('crops', [*found, 'film', 'erased']),
  ):
    missing = [r for r in section[field] if r not in known]
    if missing:
      raise ValueError(
        f'Expected {name}.{field} among {", ".join(known)}; got '
        f'{", ".join(missing)}: change --config.{name}.{field}.'
      )
  devices = jax.local_device_count()
  if section.batch_size < 1 or section.batch_size % devices:
    raise ValueError(
      f'Expected {name}.batch_size to be divisible by {devices} devices, got '
      f'{section.batch_size} films: change --config.{name}.batch_size.'
    )
