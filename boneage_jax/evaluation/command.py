"""What the commands of `evaluate` share: their help, and errors in one line."""

import argparse
from collections.abc import Iterator
import contextlib
import sys


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
  """Return the parser of a command.

  Args:
    name: of the command, as it is typed.
    text: of its help: the docstring of its module, with an example.
  """
  return argparse.ArgumentParser(
    prog=f'python -m boneage_jax.evaluate {name}',
    description=text,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
  """End the program with one line where the user is at fault."""
  try:
    yield
  except (ValueError, OSError) as error:
    sys.exit(f'Error: {error}')
