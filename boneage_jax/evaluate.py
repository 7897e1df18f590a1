"""Judge finished runs.

  python -m boneage_jax.evaluate COMMAND RUN ...

Commands that read the predictions of a run:
  errors          errors of a run by sex, age and stage, or of several runs
  compare         paired difference of two runs on the same films
  published       figures of a paper beside ours
  ensemble        combine the predictions of several runs
  regions         errors of regions of the hand before, in and after puberty
  learning-curve  Dice by number of labelled films, chosen or at random
  box-thresholds  boxes at other thresholds, against annotated boxes

Commands that run its nets again:
  calibrate       temperature, prediction intervals, quality checks
  external        errors on other films with known ages
  robustness      errors on corrupted films
  adapt           correct ages for one site, on its own films of known age
  quality         which planted faults of films do quality checks find?
  saliency        do heat maps show what a net reads?
  heat-maps       where in the hand do two nets look?

For example: python -m boneage_jax.evaluate errors runs/cascade_phantom
Options of a command: python -m boneage_jax.evaluate COMMAND --help
"""

from collections.abc import Sequence
import importlib
import sys

# Each is a module of `evaluation`, with `_` for `-`, imported when called.
COMMANDS = (
  *('errors', 'compare', 'calibrate', 'ensemble', 'regions'),
  *('robustness', 'quality', 'saliency', 'box-thresholds', 'learning-curve'),
  *('adapt', 'external', 'published', 'heat-maps'),
)


def main(argv: Sequence[str] | None = None) -> None:
  """Run a command on finished runs."""
  command, *rest = (sys.argv[1:] if argv is None else argv) or ['']
  if command in ('-h', '--help'):
    print(__doc__)
    return
  if command not in COMMANDS:
    got = f'got {command!r}' if command else 'got none'
    sys.exit(
      f'Error: Expected a command of {", ".join(COMMANDS)}; {got}. See '
      'python -m boneage_jax.evaluate --help.'
    )
  name = command.replace('-', '_')
  importlib.import_module(f'boneage_jax.evaluation.{name}').main(rest)


if __name__ == '__main__':
  main()
