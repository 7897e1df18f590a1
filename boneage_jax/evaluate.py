"""Figures of finished runs.

  python -m boneage_jax.evaluate table|compare|calibrate|ensemble RUN ...

judges finished runs by the predictions they left, and

  python -m boneage_jax.evaluate stress|faithful RUN ...

by what their nets say to films that are changed, `boxes RUN:STAGE` by their
heat maps; --help after the command.
"""

from collections.abc import Sequence
import importlib
import sys

# Modules of `evaluation`, imported when called.
COMMANDS = {
  'table': 'errors',
  'compare': 'compare',
  'calibrate': 'calibrate',
  'ensemble': 'ensemble',
  'stress': 'robustness',
  'faithful': 'saliency',
  'boxes': 'box_thresholds',
}


def main(argv: Sequence[str] | None = None) -> None:
  """Run a command on finished runs."""
  command, *rest = (sys.argv[1:] if argv is None else argv) or ['']
  if command in ('-h', '--help'):
    print(__doc__)
    return
  if command not in COMMANDS:
    sys.exit(f'Expected {", ".join(COMMANDS)} and its runs, got {command!r}.')
  module = importlib.import_module(
    f'boneage_jax.evaluation.{COMMANDS[command]}'
  )
  module.main(rest)


if __name__ == '__main__':
  main()
