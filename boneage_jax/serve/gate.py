"""How many requests with films are let in at a time."""

from collections.abc import Iterator
import contextlib
import math
import time

from boneage_jax.serve import refusals

LONGEST = 60  # seconds that somebody is asked to wait


class Gate:
  """Counts who is inside; of one thread.

  Attributes:
    inside: requests that are worked on or wait.
  """

  def __init__(self, most: int):
    """Let in `most`."""
    self.inside = 0
    self._most, self._seconds = most, 1.0

  @contextlib.contextmanager
  def enter(self) -> Iterator[None]:
    """Let a request in.

    Raises:
      RefusedError: there is no room; with Retry-After.
    """
    if self.inside >= self._most:
      # As long as requests took of late: by then one of them has left.
      wait = math.ceil(min(max(self._seconds, 1), LONGEST))
      raise refusals.RefusedError(
        429,
        f'{self.inside} requests are waiting: send it again in {wait} seconds.',
        {'Retry-After': str(wait)},
      )
    self.inside += 1
    before = time.monotonic()
    try:
      yield
    finally:
      self.inside -= 1
      taken = time.monotonic() - before
      self._seconds += 0.2 * (taken - self._seconds)
