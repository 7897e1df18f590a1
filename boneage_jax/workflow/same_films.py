"""Checks that stages which hand on boxes and masks see one and the same film.

Both are told in shares of a film as a stage saw it: turned by a net, and
without its borders. Elsewhere they would lie on another part of the hand.
"""

from boneage_jax.core import stages

# Fields by which a stage lays what another one found on its own films.
LAID = ('input.erase_from', 'input.masks_from', 'previous')


def check(stage: stages.Stage) -> None:
  """Check a stage whose inputs are known to be there.

  Raises:
    ValueError: another stage saw the films turned by another net, or without
      other borders; names both.
  """
  for field in LAID:
    for name in stage.named(field):
      _check_turned(stage, stage.other(name))
      _check_borders(stage, stage.other(name))
  for shown in stage.named('stage'):  # of a report, which draws what was found
    for name in stage.named('regions_from'):
      _check_turned(stage.other(shown), stage.other(name))


def _check_turned(stage: stages.Stage, other: stages.Stage) -> None:
  ours, theirs = stage.orientation(), other.orientation()
  if ours != theirs:
    nets = (one.whole_film_stage().name for one in (stage, other))
    fields = (f'--config.{net}.input.orientation_from' for net in nets)
    raise ValueError(
      f'Expected {stage.name} and {other.name} to see films turned alike, got '
      f'films turned by {ours!r} and by {theirs!r}: set '
      f'{" and ".join(fields)} alike.'
    )


def _check_borders(stage: stages.Stage, other: stages.Stage) -> None:
  ours, theirs = (one.section.input.builder_config for one in (stage, other))
  if stage.config.data.crop_borders and ours != theirs:
    raise ValueError(
      f'Expected {stage.name} to read the films that {other.name} saw, got '
      f'{ours!r} and {theirs!r}, which may lose other borders: give both one '
      'input.builder_config, or set --config.data.crop_borders=False.'
    )
