"""One net of a run, and what finds its regions, ready for new films."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import MutableMapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.core import scalars
from boneage_jax.core import stages
from boneage_jax.data import groups
from boneage_jax.imaging import codec
from boneage_jax.inference import basis as basis_lib
from boneage_jax.inference import finders
from boneage_jax.inference import net
from boneage_jax.inference import one_film
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality_checks
from boneage_jax.inference import regression
from boneage_jax.regions import localize
from tfds_rsna import films as films_lib
from tfds_rsna import layout

# What reads films, of jobs that train no net.
NETS = {'fit_regressors': regression.Regression}


class Predictor:
  """The best net of a stage, ready for one film after the other.

  A film of the run's test split gets the age in the run's predictions.csv.
  `inverted` says that films have dark bones, as those the run was trained on;
  `builder_config` names the prepared films that it reads, `places` says where
  the ages of its map lie, if it gives one, and `inputs` which numbers of
  `scalars.SCALARS` its nets read beside the film.
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
    config: Any,
    stage: str,
    workdir: str,
    batch_size: int = 1,
    calibration: Mapping[str, Any] | None = None,
    loaded: MutableMapping[tuple[str, str], finders.Finder] | None = None,
  ):
    """Load the nets of `stage`.

    Args:
      config: of the run.
      stage: that trains a net of task 'age'.
      workdir: of the run.
      batch_size: most films that `outputs` takes.
      calibration: content of calibration.json, for intervals.
      loaded: finders to share with other nets; gets what is new.

    Raises:
      ValueError: no such stage, or one without a checkpoint.
    """
    _check_stage(config, stage)
    self.batch_size = batch_size
    self.calibration = calibration or {}
    loaded = {} if loaded is None else loaded
    self.finder = finders.load(config, stage, workdir, batch_size, loaded)
    own = config[stage].input
    sex = own.get('sex', '')
    self.sexes = (sex,) if sex else tuple(groups.SEX)  # that it can read
    self.builder_config = self.finder.builder_config
    self.inverted = self.finder.film_input.polarity == 'invert'
    names = own.regions or self.finder.crops
    self._take = [self.finder.crops.index(n) for n in names]
    read = NETS.get(config[stage].job, net.Net)
    self.net = read(config, stage, workdir, batch_size)
    self.places = self.net.places
    read_by = (*self.net.inputs, *self.finder.inputs)
    self.inputs = scalars.inputs(tuple(dict.fromkeys(read_by)))

  def predict(
    self,
    image: np.ndarray,
    sex: str,
    known: Mapping[str, float] = one_film.NOTHING,
  ) -> prediction_lib.Prediction:
    """Predict one film, see `one_film.predict`; the first call compiles."""
    return one_film.predict(self, image, sex, known)

  def check_sex(self, sex: str) -> None:
    """Refuse a sex that the net is not of.

    Raises:
      ValueError: it is not.
    """
    if sex not in self.sexes:
      raise ValueError(
        f'Expected a film of the sex {self.sexes[0]}, as the net was trained '
        f'on no other, got {sex!r}: take a net of both sexes.'
      )

  def encode(self, record: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a film of any size to that of the prepared films."""
    side = layout.LONG_SIDES[self.builder_config]
    image = films_lib.shrunk(codec.decode_stored(record['image']), side)
    return {**record, 'image': codec.bitmap(image)}

  def outputs(
    self,
    records: Sequence[Mapping[str, Any]],
    memo: finders.Memo | None = None,
  ) -> tuple[dict[str, np.ndarray], list[localize.Film]]:
    """Predict at most `batch_size` films as the data set keeps them.

    Args:
      records: id, row, sex, age and image (encoded), as of
        `sources.film_source`; no id twice.
      memo: what was found on these films before; gets what is new.

    Returns:
      `age` [N] months and, with bins, `probability` [N, 240], with a map of
      ages what `age_maps.NAMES` names; and the films, upright, with what was
      found on them and quality flags.
    """
    films, read = self.look(records, {} if memo is None else memo)
    return self.net(read), films

  def look(
    self, records: Sequence[Mapping[str, Any]], memo: finders.Memo
  ) -> tuple[list[localize.Film], list[dict[str, Any]]]:
    """Return films with what was found on them, and what the net reads."""
    found = self.finder(records, memo)
    read = [finders.take(record, self._take) for _, record in found]
    return [film for film, _ in found], read


def _check_stage(config: Any, stage: str) -> None:
  """Refuse a stage whose net does not say the age of a film as it is."""
  able = stages.of_ages(config)
  if stage not in able or config[stage].job == 'ensemble':
    raise ValueError(
      f'Expected a stage that trains or combines age nets, got {stage!r}; '
      f'choose one with --stage: {", ".join(able) or "none here does"}.'
    )
  if config[stage].input.erase_from:
    raise ValueError(
      f'{stage} reads films with regions painted over, so it has no age of a '
      f'film as it is; predict with --stage={stages.chosen(config)}.'
    )
