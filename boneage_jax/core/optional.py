"""Packages that not every installation has."""

import importlib
from typing import Any


def load(need: str, extra: str, *modules: str) -> Any:
  """Import modules and return the first.

  Args:
    need: what needs them, as a message begins.
    extra: of setup.py, which installs them.
    modules: by name.

  Raises:
    ValueError: one is not installed.
  """
  try:
    first, *_ = [importlib.import_module(name) for name in modules]
  except ImportError as error:
    package = (error.name or modules[0]).partition('.')[0]
    raise ValueError(
      f"{need} needs {package}: pip install -e '.[{extra}]' in the clone of "
      'boneage_jax.'
    ) from error
  return first
