"""What is said of one new film."""

from collections.abc import Mapping
import dataclasses
import types
from typing import Any

import numpy as np

from boneage_jax.data import groups
from boneage_jax.imaging import age_maps
from boneage_jax.imaging import boxes
from boneage_jax.imaging import overlay as overlay_lib
from boneage_jax.inference import basis as basis_lib
from boneage_jax.inference import intervals as intervals_lib
from boneage_jax.inference import quality
from boneage_jax.inference import quality_checks
from boneage_jax.regions import placement

P_MALE, HALF_EACH = 'p_male', 'half_each'  # what mixes the ages of both sexes


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What inference says of one film; all output are views of it.

  Attributes:
    age_predicted: months.
    sex: that was used: 'M', 'F' or 'unknown'.
    probability: float32 [240] of the months; None for a net without bins.
    intervals: per cent -> (low, high) in months; empty until the run is
      calibrated.
    regions: name -> box, in fractions of the film without its border, upright.
    rotation_deg: by how much the film was rotated, counter-clockwise, before it
      was turned back.
    film_box: where the film lies within its border, in fractions of the file's
      picture, before it was turned back.
    quality_flags: why not to trust the age, see `quality`; often none.
    overlay: uint8 RGB [440, W, 3], the film with heat map and regions.
    layers: the same as pictures that lie on each other; None unless asked for.
    notes: what is odd about the film's file, names of `codec.NOTES`.
    hand: how the film was registered; None of a run that does not.
    age_map: [h, w], months at places of the film; None of a net that gives the
      age of the whole alone.
    deformation: what the net's deformation layer did; None without one.
    basis: what the prediction rests on; None where nobody said.
    age_if_male, age_if_female: months, of a film of unknown sex, whose
      `age_predicted` is their weighted mean; else None.
    male_share: the weight of `age_if_male` in it; None where the sex is known.
    male_share_from: where that comes from: P_MALE, as the nets tell it, or
      HALF_EACH; '' where the sex is known.
    extra: numbers that the nets tell beside the age, by name.
    site: whose correction was applied, or ''.
    chronological_age: months, where it is known.
    sds: how many standard deviations the bone age lies above the mean of that
      chronological age and sex, by the user's reference; None without.
    evidence: what the fitted checks of quality measured, by check; empty of a
      run without them.
    forced: whether views show the age of a film that is refused.
    reason: why the film cannot be read, else ''; see `unread`.
  """

  age_predicted: float
  sex: str
  probability: np.ndarray | None = dataclasses.field(repr=False)
  regions: Mapping[str, boxes.Region]
  rotation_deg: int
  film_box: tuple[float, float, float, float]
  quality_flags: tuple[str, ...]
  overlay: np.ndarray = dataclasses.field(repr=False)
  layers: overlay_lib.Layers | None = dataclasses.field(
    default=None, repr=False
  )
  intervals: Mapping[int, tuple[float, float]] = dataclasses.field(
    default_factory=dict
  )
  notes: tuple[str, ...] = ()
  hand: placement.Hand | None = None
  age_map: np.ndarray | None = dataclasses.field(default=None, repr=False)
  deformation: age_maps.Pose | None = None
  basis: basis_lib.Basis | None = None
  age_if_male: float | None = None
  age_if_female: float | None = None
  male_share: float | None = None
  male_share_from: str = ''
  extra: Mapping[str, float] = dataclasses.field(default_factory=dict)
  site: str = ''
  chronological_age: float | None = None
  sds: float | None = None
  evidence: Mapping[str, quality_checks.Measure] = dataclasses.field(
    default_factory=dict
  )
  forced: bool = False
  reason: str = ''

  @property
  def lo90(self) -> float | None:
    """Lower end of the 90 % interval, months."""
    return self.intervals[90][0] if 90 in self.intervals else None

  @property
  def hi90(self) -> float | None:
    """Upper end of the 90 % interval, months."""
    return self.intervals[90][1] if 90 in self.intervals else None

  @property
  def status(self) -> str:
    """'ok', 'check' or 'refused', see `quality.status`."""
    if self.reason:
      return quality.REFUSED
    return quality.status(self.quality_flags)

  @property
  def withheld(self) -> bool:
    """Whether views leave the age out."""
    if self.reason:
      return True
    return self.status == quality.REFUSED and not self.forced


def unread(sex: str, reason: str) -> Prediction:
  """Return what is said of a film that cannot be read: why, and no age."""
  return Prediction(
    age_predicted=np.nan,
    sex=sex,
    probability=None,
    regions={},
    rotation_deg=0,
    film_box=boxes.WHOLE_FILM,
    quality_flags=(),
    overlay=np.zeros((440, 440, 3), np.uint8),
    reason=reason,
  )


def with_notes(
  prediction: Prediction,
  notes: tuple[str, ...],
  flags: tuple[str, ...] = (),
  known: Mapping[str, float] = types.MappingProxyType({}),
) -> Prediction:
  """Add what is odd about the file; what concerns its greys is a flag too.

  Args:
    prediction: of the film.
    notes: names of `codec.NOTES`.
    flags: what its header says against it.
    known: numbers of the film; its chronological age is shown.
  """
  flags = (*flags, *(note for note in notes if note in quality.OF_FILE))
  return dataclasses.replace(
    prediction,
    quality_flags=prediction.quality_flags + flags,
    notes=notes,
    chronological_age=known.get('chronological_age'),
  )


def with_intervals(
  prediction: Prediction, calibration: Mapping[str, Any]
) -> Prediction:
  """Add the intervals of a calibrated run.

  Args:
    prediction: of the run.
    calibration: content of calibration.json; empty adds nothing.
  """
  if not calibration:
    return prediction
  film = {
    'prediction': np.array([prediction.age_predicted]),
    'sex': np.array([groups.SEX[prediction.sex]]),
  }
  if prediction.probability is not None:
    film['probability'] = prediction.probability[None].astype(np.float64)
  (ends,) = intervals_lib.of_new_films(calibration, film)
  found = zip(calibration['levels'], map(tuple, ends.tolist()), strict=True)
  return dataclasses.replace(prediction, intervals=dict(found))


def mixture(male: Prediction, female: Prediction) -> Prediction:
  """Return what is said of a film of unknown sex, of both together.

  Each has the probability of its sex as weight where the nets tell it, else one
  half. Intervals reach from the lower of both lower ends to the higher of both
  upper ends, so that they keep what they promise whichever sex it is. Regions
  and picture are those of the film as a boy's.
  """
  each = (male, female)
  extra = {
    name: (value + female.extra[name]) / 2
    for name, value in male.extra.items()
    if name in female.extra
  }
  share = extra.get(P_MALE, 0.5)
  mean = lambda boy, girl: share * boy + (1 - share) * girl
  probability = None
  if all(one.probability is not None for one in each):
    probability = mean(male.probability, female.probability)
  levels = [level for level in male.intervals if level in female.intervals]
  ends = {
    level: tuple(
      pick(one.intervals[level][side] for one in each)
      for side, pick in enumerate((min, max))
    )
    for level in levels
  }
  return dataclasses.replace(
    male,
    age_predicted=mean(male.age_predicted, female.age_predicted),
    age_if_male=male.age_predicted,
    age_if_female=female.age_predicted,
    male_share=share,
    male_share_from=P_MALE if P_MALE in extra else HALF_EACH,
    extra=extra,
    sex='unknown',
    probability=probability,
    intervals=ends,
    quality_flags=tuple(
      dict.fromkeys(flag for one in each for flag in one.quality_flags)
    ),
    evidence=_worst(male.evidence, female.evidence),
    site=_site(male.site, female.site),
  )


def _worst(
  a: Mapping[str, quality_checks.Measure],
  b: Mapping[str, quality_checks.Measure],
) -> dict[str, quality_checks.Measure]:
  """Return what each check measured where it is nearer to a fault."""
  beyond = lambda one: one.value - one.limit
  return {k: max(a[k], b.get(k, a[k]), key=beyond) for k in a}


def _site(male: str, female: str) -> str:
  """Name the site whose correction is in the age of a film of unknown sex."""
  if male == female:
    return male
  return f'{male or female} (as a {"boy" if male else "girl"} alone)'
