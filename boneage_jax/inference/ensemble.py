"""Nets with weights, used like one."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.data import groups
from boneage_jax.imaging import age_maps
from boneage_jax.imaging import codec
from boneage_jax.inference import basis as basis_lib
from boneage_jax.inference import finders
from boneage_jax.inference import one_film
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality_checks
from boneage_jax.regions import localize
from tfds_rsna import films as films_lib
from tfds_rsna import layout


class Ensemble:
  """Nets with weights, used like a `Predictor`.

  A film is read by the members of its sex, with their weights as shares of
  these: boys by those of boys and those of both. Regions and pictures are those
  of the first member that has regions.
  """

  # Of what `loading.load` returns: what its ages rest on, the site whose
  # correction they get, and who is told what nets read.
  basis: basis_lib.Basis | None = None
  site: Mapping[str, Any] | None = None
  dump: Callable[[str, float], None] | None = None
  # Of what `loading.load` returns, once the run is calibrated.
  checks: quality_checks.Checks | None = None

  def __init__(
    self,
    members: Sequence[Any],
    weights: Sequence[float] | None = None,
    calibration: Mapping[str, Any] | None = None,
    weights_by_sex: Mapping[str, Sequence[float]] | None = None,
  ):
    """Combine members, by default in equal parts.

    Args:
      members: Predictors or Ensembles.
      weights: one each, of sum 1.
      calibration: content of the ensemble's calibration.json, for intervals.
      weights_by_sex: of 'M' and 'F', in the place of `weights`.

    Raises:
      ValueError: members read films of opposite polarity.
    """
    self.members = members
    self.weights = weights or [1 / len(members)] * len(members)
    self._by_sex = weights_by_sex or {}
    self.calibration = calibration or {}
    self.batch_size = members[0].batch_size
    configs = {member.builder_config for member in members}
    self.builder_config = configs.pop() if len(configs) == 1 else 'original'
    self.sexes = tuple(sex for sex in groups.SEX if self.readers(sex)[0])
    names = [name for member in members for name in member.inputs]
    self.inputs = tuple(dict.fromkeys(names))
    # Maps of ages are averaged where they lie alike.
    common = {member.places for member in members}
    self.places = common.pop() if len(common) == 1 else None
    self.inverted = members[0].inverted
    if any(member.inverted != self.inverted for member in members):
      raise ValueError(
        'Expected members that read films of one polarity, got both: give '
        'their stages the same --config.STAGE.input.polarity.'
      )

  def predict(
    self,
    image: np.ndarray,
    sex: str,
    known: Mapping[str, float] = one_film.NOTHING,
  ) -> prediction_lib.Prediction:
    """Predict one film, as `Predictor.predict` does.

    Raises:
      ValueError: as `Predictor.predict`; or no member reads films of that sex.
    """
    return one_film.predict(self, image, sex, known)

  def outputs(
    self,
    records: Sequence[Mapping[str, Any]],
    memo: finders.Memo | None = None,
  ) -> tuple[dict[str, np.ndarray], list[localize.Film]]:
    """Predict films of `builder_config`, as `Predictor.outputs` does.

    Members that read the same regions of a film look for them once.

    Raises:
      ValueError: no member reads films of the sex of a film; names it.
    """
    memo = {} if memo is None else memo
    sexes = groups.sex_text(np.array([record['sex'] for record in records]))
    for record, sex in zip(records, sexes.tolist(), strict=True):
      self.check_sex(sex, f'Film {record["id"]}: expected')
    every = [set(member.sexes) == set(groups.SEX) for member in self.members]
    if all(every) and not self._by_sex:
      return self._outputs(records, 'unknown', memo)  # all films at once
    order, parts, films = [], [], []
    for sex in dict.fromkeys(sexes.tolist()):
      of = np.flatnonzero(sexes == sex)
      part, found = self._outputs([records[k] for k in of], sex, memo)
      order += of.tolist()
      parts.append(part)
      films += found
    back = np.argsort(order)
    columns = {
      name: np.concatenate([part[name] for part in parts])[back]
      for name in parts[0]
      if all(name in part for part in parts)
    }
    return columns, [films[k] for k in back]

  def encode(self, record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a film of any size to that of the members' prepared films."""
    side = layout.LONG_SIDES[self.builder_config]
    image = films_lib.shrunk(codec.decode_stored(record['image']), side)
    return {**record, 'image': codec.bitmap(image)}

  def readers(self, sex: str) -> tuple[list[Any], np.ndarray]:
    """Return the members that read films of a sex, and weights of sum 1."""
    weights = self._by_sex.get(sex, self.weights)
    pairs = [
      (member, weight)
      for member, weight in zip(self.members, weights, strict=True)
      if weight > 0 and sex in member.sexes
    ]
    shares = np.array([weight for _, weight in pairs])
    return [member for member, _ in pairs], shares / (shares.sum() or 1.0)

  def check_sex(self, sex: str, start: str = 'Expected') -> None:
    """Refuse a sex that no member with a weight reads.

    Raises:
      ValueError: none does; begins with `start`.
    """
    if sex not in self.sexes:
      raise ValueError(
        f'{start} a film of the sex {" or ".join(self.sexes)}, as no net with '
        f'a weight was trained on others, got {sex!r}: say the sex, or take a '
        'stage of both sexes with --stage.'
      )

  def _outputs(
    self,
    records: Sequence[Mapping[str, Any]],
    sex: str,
    memo: finders.Memo,
  ) -> tuple[dict[str, np.ndarray], list[localize.Film]]:
    """Predict films with the members that read those of a sex."""
    members, weights = self.readers(sex)
    each = [
      member.outputs(
        records
        if member.builder_config == self.builder_config
        else [member.encode(record) for record in records],
        memo,
      )
      for member in members
    ]
    films = next((films for _, films in each if _shows(films[0])), each[0][1])
    for film, *same in zip(films, *(seen for _, seen in each), strict=True):
      film.quality_flags = _any_of([one.quality_flags for one in same])
    left_out = ['embedding']  # each has its own, as it has its deformation
    left_out += ['deformation'] if len(each) > 1 else []
    left_out += age_maps.NAMES if self.places is None else ()
    combined = {
      name: _combine([outputs.get(name) for outputs, _ in each], weights)
      for name in each[0][0]
      if name not in left_out
    }
    answers = [outputs for outputs, _ in each]
    combined['embedding'] = self._embedding(answers)
    if len(each) > 1:
      ages = np.stack([outputs['age'] for outputs in answers])
      off = (ages - combined['age']) ** 2
      combined['spread'] = np.sqrt(np.tensordot(weights, off, 1))
    return {k: v for k, v in combined.items() if v is not None}, films

  def _embedding(self, answers: Sequence[Mapping[str, Any]]) -> Any:
    """Return the embeddings of all members; None where not all read a film."""
    each = [outputs.get('embedding') for outputs in answers]
    if len(each) < len(self.members) or any(one is None for one in each):
      return None
    return np.concatenate(each, -1)


def _shows(film: localize.Film) -> bool:
  """Whether regions were looked for on a film."""
  return bool(film.regions) or film.hand is not None


def _combine(values: Sequence[Any], weights: np.ndarray) -> Any:
  """Average what members say; None where one of them says nothing."""
  if any(value is None for value in values):
    return None
  return np.tensordot(weights, np.stack(values), 1)


def _any_of(flags: Sequence[Sequence[str]]) -> tuple[str, ...]:
  """Name the quality flags that any net raises."""
  return tuple(sorted({name for one in flags for name in one}))
