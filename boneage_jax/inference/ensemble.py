"""Nets with weights, used like one."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.regions import localize


class Ensemble:
  """Nets with weights, used like a `Predictor`.

  Regions and pictures are those of the first member that has regions.
  """

  def __init__(
    self,
    members: Sequence[Any],
    weights: Sequence[float] | None = None,
    calibration: Mapping[str, Any] | None = None,
  ):
    """Combine members, by default in equal parts.

    Args:
      members: Predictors or Ensembles.
      weights: one each, of sum 1.
      calibration: content of the ensemble's calibration.json, for intervals.

    Raises:
      ValueError: members read films of opposite polarity.
    """
    self.members = members
    self.weights = weights or [1 / len(members)] * len(members)
    self._calibration = calibration or {}
    self.batch_size = members[0].batch_size
    configs = {member.builder_config for member in members}
    self.builder_config = configs.pop() if len(configs) == 1 else 'original'
    self.inverted = members[0].inverted
    if any(member.inverted != self.inverted for member in members):
      raise ValueError(
        'Expected members that read films of one polarity, got both: give '
        'their stages the same --config.STAGE.input.polarity.'
      )

  def predict(self, image: np.ndarray, sex: str) -> prediction_lib.Prediction:
    """Predict one film, as `Predictor.predict` does."""
    each = [member.predict(image, sex) for member in self.members]
    shown = next((one for one in each if one.regions), each[0])
    combined = dataclasses.replace(
      shown,
      age_predicted=float(self._combine([one.age_predicted for one in each])),
      probability=self._combine([one.probability for one in each]),
      quality_flags=_any_of([one.quality_flags for one in each]),
      intervals={},
    )
    return prediction_lib.with_intervals(combined, self._calibration)

  def outputs(
    self, records: Sequence[Mapping[str, Any]]
  ) -> tuple[dict[str, np.ndarray], list[localize.Film]]:
    """Predict films of `builder_config`, as `Predictor.outputs` does."""
    each = [
      member.outputs(
        records
        if member.builder_config == self.builder_config
        else [member.encode(record) for record in records]
      )
      for member in self.members
    ]
    films = next((films for _, films in each if films[0].regions), each[0][1])
    for film, *same in zip(films, *(seen for _, seen in each), strict=True):
      film.quality_flags = _any_of([one.quality_flags for one in same])
    combined = {
      name: self._combine([outputs.get(name) for outputs, _ in each])
      for name in each[0][0]
    }
    return {k: v for k, v in combined.items() if v is not None}, films

  def encode(self, record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a film of any size to that of the members' prepared films."""
    return self.members[0].encode(record)

  def _combine(self, values: Sequence[Any]) -> Any:
    """Average what the members say; None where one of them says nothing."""
    if any(value is None for value in values):
      return None
    return np.tensordot(self.weights, np.stack(values), 1)


def _any_of(flags: Sequence[Sequence[str]]) -> tuple[str, ...]:
  """Name the quality flags that any net raises."""
  return tuple(sorted({name for one in flags for name in one}))
