"""What the commands of `evaluate` share: their help, and --imports."""

import argparse

from boneage_jax.core import extend


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
  """Return the parser of a command.

  Args:
    name: of the command, as it is typed.
    text: of its help: the docstring of its module, with an example.
  """
  made = argparse.ArgumentParser(
    prog=f'python -m boneage_jax.evaluate {name}',
    description=text,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  extend.add_flag(made)
  return made
