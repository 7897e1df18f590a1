"""Modules of a user: tables are as before when a test ends."""

from collections.abc import Iterator
import contextlib
import pathlib
import re
import sys

from absl import flags
import ml_collections
from ml_collections import config_flags
import pytest

from boneage_jax.core import config as config_lib
from boneage_jax.core import extend

PAGE = pathlib.Path(__file__).parents[2] / 'docs/how-to/extend.md'


@contextlib.contextmanager
def folder(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
  """Work in a folder of a user, whose modules can be imported."""
  before = {
    field: (dict(table.entries), set(table.own))
    for field, table in extend.TABLES.items()
  }
  monkeypatch.setattr(extend, '_IMPORTED', set())
  monkeypatch.syspath_prepend(path)
  monkeypatch.chdir(path)
  modules = set(sys.modules)
  try:
    yield
  finally:
    for name in set(sys.modules) - modules:
      file = getattr(sys.modules[name], '__file__', None)
      if file and file.startswith(str(path)):
        del sys.modules[name]
    for field, (entries, own) in before.items():
      table = extend.TABLES[field]
      for now, then in ((table.entries, entries), (table.own, own)):
        now.clear()
        now.update(then)


def parse(
  monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> ml_collections.ConfigDict:
  """Return the config of a command line of `boneage_jax.main`."""
  values = flags.FlagValues()
  monkeypatch.setattr(config_lib, 'FLAGS', values)
  config_flags.DEFINE_config_file('config', None, flag_values=values)
  flags.DEFINE_string('imports', '', '', flag_values=values)
  words = ['main', *arguments]
  monkeypatch.setattr(sys, 'argv', words)  # where overrides are looked for
  config_lib.parse(words)
  return values.config


def write_examples(path: pathlib.Path) -> list[str]:
  """Write the files that docs/how-to/extend.md shows; return their names."""
  text = PAGE.read_text(encoding='utf-8')
  found = re.findall(
    r'^`(\w+\.py)`:\n\n```python\n(.*?)^```', text, re.M | re.S
  )
  for name, code in found:
    (path / name).write_text(code, encoding='utf-8')
  return [name for name, _ in found]
