"""SIGTERM and Ctrl-C: all processes save at the same step, and leave."""

import signal
from types import FrameType

import jax

from boneage_jax.core import distributed


class Preempted(Exception):
  """A run stops before its end; the same command goes on.

  Its training was asked to stop and saved its state, or it waits for a person.
  """


class Listener:
  """Notices SIGTERM and SIGINT while a training runs.

  A context; on leaving, the former handlers are back.
  """

  def __init__(self, mesh: jax.sharding.Mesh):
    """Listen once the context is entered; `mesh` carries the votes."""
    self.signal: str | None = None
    self._consensus = distributed.StopConsensus(mesh)
    self._former: dict = {}

  def __enter__(self) -> 'Listener':
    self._former = {
      number: signal.signal(number, self._on_signal)
      for number in (signal.SIGTERM, signal.SIGINT)
    }
    return self

  def __exit__(self, *error: object) -> None:
    for number, handler in self._former.items():
      signal.signal(number, handler)

  def _on_signal(self, number: int, frame: FrameType | None) -> None:
    del frame
    self.signal = signal.Signals(number).name

  def requested(self) -> bool:
    """Whether to stop after this step; the same answer in every process."""
    return self._consensus(bool(self.signal))

  def anywhere(self) -> bool:
    """Whether any process was asked to stop; waits for all of them."""
    return distributed.any_process(bool(self.signal))
