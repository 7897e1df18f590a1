"""What JAX compiles while something runs."""

import collections
from collections.abc import Iterator
import contextlib
import logging
import re

import jax

SECONDS = '/jax/core/compile/backend_compile_duration'
_LOGGER = 'jax._src.interpreters.pxla'
_LINE = re.compile(r'Compiling (\S+) (?:with|for) (.*)', re.DOTALL)


class Compilations(logging.Handler):
  """Counts programs by name and shapes, and adds up the time they took.

  Attributes:
    programs: (name, shapes) -> how often it was compiled, or read from the
      cache of compiled programs.
    seconds: of compiling, or of reading from the cache.
  """

  def __init__(self):
    super().__init__(logging.DEBUG)
    self.programs: collections.Counter[tuple[str, str]] = collections.Counter()
    self.seconds = 0.0

  def emit(self, record: logging.LogRecord) -> None:
    if found := _LINE.match(record.getMessage()):
      self.programs[found[1], found[2]] += 1

  def twice(self) -> list[str]:
    """Return the names of programs that were compiled again."""
    return [name for (name, _), n in self.programs.items() if n > 1]

  def _add(self, event: str, seconds: float, **_) -> None:
    if event == SECONDS:
      self.seconds += seconds


@contextlib.contextmanager
def counted() -> Iterator[Compilations]:
  """Count what is compiled within the block."""
  found, logger = Compilations(), logging.getLogger(_LOGGER)
  before = logger.level, logger.propagate
  logger.addHandler(found)
  logger.setLevel(logging.DEBUG)
  logger.propagate = False
  jax.monitoring.register_event_duration_secs_listener(found._add)
  try:
    yield found
  finally:
    jax.monitoring.unregister_event_duration_listener(found._add)
    logger.removeHandler(found)
    logger.level, logger.propagate = before
