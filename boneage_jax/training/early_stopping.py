"""When a training ends before its last step: its net gets no better."""

from typing import Any


def check(section: Any, stage: str) -> None:
  """Check the field `early_stopping` of a stage.

  Raises:
    ValueError: a patience that cannot be, or a rate that would not have
      fallen; names the field.
  """
  patience = _patience(section)
  if patience < 0:
    raise ValueError(
      f'Expected {stage}.early_stopping.patience of 0 (never) or more '
      f'validations, got {patience}.'
    )
  if patience and section.checkpoint_selection != 'best':
    raise ValueError(
      f'Expected {stage}.early_stopping.patience=0 where the last net is kept, '
      f'as validation may not choose it, got {patience}: set '
      f'--config.{stage}.checkpoint_selection=best.'
    )
  if patience and section.optimizer.schedule == 'cosine':
    raise ValueError(
      f'Expected {stage}.early_stopping.patience=0 with a cosine schedule, '
      f'whose rate is to fall to nothing by the last step, got {patience}: set '
      f'--config.{stage}.optimizer.schedule=constant, or lower '
      f'--config.{stage}.epochs.'
    )


def exhausted(
  section: Any, step: int, best_step: int | None, eval_steps: int
) -> bool:
  """Whether so many validations after the best one were no better.

  The first step with the lowest error, which is kept on disk, says all: a
  killed run that goes on ends at the same step. A later net with the same error
  is kept in the place of the first, but it is no better.

  Args:
    section: of the stage; runs of earlier versions have no `early_stopping`.
    step: that was done last.
    best_step: the first with the error of the net that is kept, None before
      there is one.
    eval_steps: between validations.
  """
  patience = _patience(section)
  if not patience or best_step is None or step % eval_steps:
    return False
  return step - best_step >= patience * eval_steps


def _patience(section: Any) -> int:
  return section.get('early_stopping', {}).get('patience', 0)
