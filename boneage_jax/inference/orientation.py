"""Rotated films turned back, by the net of a run's orientation stage."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.data import preprocess
from boneage_jax.inference import net


class OrientationCorrector:
  """Turns films upright, by the net of an orientation stage."""

  def __init__(self, config: Any, stage: str, workdir: str, batch_size: int):
    """Load the net of `stage`; it sees at most `batch_size` films at a time."""
    self.net = net.Net(config, stage, workdir, batch_size)

  def __call__(
    self, records: Sequence[Mapping[str, Any]]
  ) -> list[dict[str, Any]]:
    """Return records as of `sources.film_source`, films upright.

    Those that were turned back have `rotation_deg`.
    """
    as_they_are = [{**record, 'label': 0} for record in records]  # quarters
    probability = self.net(as_they_are)['probability']
    turns = preprocess.quarter_turns(probability).tolist()
    return list(map(preprocess.rotate_back, records, turns))
