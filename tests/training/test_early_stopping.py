"""A training ends when validations after the best one were no better."""

from ml_collections import ConfigDict
import pytest

from boneage_jax.training import early_stopping
from configs import common


def section(patience, selection='best', schedule='constant'):
  return ConfigDict(
    common.train_stage(
      early_stopping=dict(patience=patience),
      checkpoint_selection=selection,
      optimizer=common.optimizer(schedule=schedule),
    )
  )


@pytest.mark.parametrize(
  ('patience', 'step', 'best', 'expected'),
  [
    (2, 30, 10, True),
    (2, 20, 10, False),  # one validation so far
    (2, 35, 10, False),  # not validated
    (2, 30, None, False),
    (2, 20, 40, False),  # killed before the step of the best was saved
    (0, 90, 10, False),  # never
  ],
)
def test_it_counts_validations_since_the_best(patience, step, best, expected):
  stops = early_stopping.exhausted(section(patience), step, best, 10)
  assert stops == expected


def test_runs_of_earlier_versions_never_stop_early():
  assert not early_stopping.exhausted(ConfigDict(), 90, 10, 10)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ((-1,), r'net\.early_stopping\.patience of 0 \(never\) or more .* got -1'),
    ((3, 'last'), r'patience=0 where the last .* got 3: set .*selection=best'),
    ((3, 'best', 'cosine'), r'patience=0 with a cosine .* got 3: set .*=const'),
  ],
)
def test_a_patience_that_cannot_be_is_refused(changes, message):
  early_stopping.check(section(3), 'net')
  early_stopping.check(section(3, 'best', 'inverse'), 'net')
  early_stopping.check(section(0, 'last', 'cosine'), 'net')
  with pytest.raises(ValueError, match=message):
    early_stopping.check(section(*changes), 'net')
