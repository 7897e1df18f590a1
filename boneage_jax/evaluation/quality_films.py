"""The films of a run, as its quality checks see them."""

from collections.abc import Collection
from collections.abc import Sequence
import os
from typing import Any

import cv2
import numpy as np

from boneage_jax.core import scalars
from boneage_jax.core import stages
from boneage_jax.data import film_table
from boneage_jax.data import groups
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.regions import localize
from boneage_jax.runs import run as run_lib
from tfds_rsna import layout


class Pictures(Sequence):
  """Films, uint8 [H, W], each read when it is asked for."""

  def __init__(self, source: Any, input_config: Any):
    """Keep whole films, and how a net reads them."""
    self._source, self._input = source, input_config

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, k: int) -> np.ndarray:
    if k >= len(self):
      raise IndexError(k)
    return localize.load_film(self._source[k], self._input).image


class Films:
  """The films of a run as its nets see whole ones: upright, bones bright."""

  def __init__(self, run: run_lib.Run):
    """Open those of a run.

    Raises:
      ValueError: it is of predictions alone, or its prepared data are gone.
    """
    if run.config is None:
      raise ValueError(
        f'Expected the folder of a run, got the ensemble {run.name}: name a '
        'stage with the job ensemble, or a member as RUN:STAGE.'
      )
    self._run, self.workdir = run, os.path.dirname(run.folder)
    stage = stages.Stage(
      run.config, os.path.basename(run.folder), self.workdir
    ).whole_film_stage()
    self._input = input_config = stage.section.input
    self.size = input_config.size
    self._long_side = layout.LONG_SIDES[input_config.builder_config]
    table, _ = selection.split_films(
      run.config, self.workdir, input_config.builder_config
    )
    self._table = selection.of_sex(
      table, run.config[os.path.basename(run.folder)]
    )

  def of(
    self, split: str, most: int = 0, excluded: Collection[str] = ()
  ) -> tuple[list[str], 'Pictures']:
    """Return ids of a split, `most` by a hash, and its films."""
    table = selection.select_split(self._table, split)
    keep = ~np.isin(table['id'], list(excluded))
    table = film_table.select(table, np.flatnonzero(keep))
    if most and most < len(table['id']):
      table = film_table.select(table, splits.some(table['id'], most))
    source = sources.whole_films(
      *(self._run.config, self.workdir, self._input.builder_config),
      *(
        table,
        selection.film_rotations(
          self.workdir, self._input.get('orientation_from', '')
        ),
      ),
    )
    return table['id'].tolist(), Pictures(source, self._input)

  def known(self, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return of films, by their ids, what nets may read beside them.

    Returns:
      `sex`, 'M', 'F' or 'unknown', and numbers of `scalars.SCALARS`.
    """
    texts = groups.sex_text(self._table['sex']).tolist()
    columns = {'sex': texts, **scalars.of(self._table)}
    row = {film: k for k, film in enumerate(self._table['id'].tolist())}
    return [
      {column: values[row[name]] for column, values in columns.items()}
      for name in names
    ]

  def fitted(self, film: np.ndarray) -> np.ndarray:
    """Shrink a film to the size of the prepared films."""
    scale = (self._long_side or np.inf) / max(film.shape)
    if scale >= 1:
      return film
    height, width = (max(round(scale * n), 1) for n in film.shape)
    return cv2.resize(film, (width, height), interpolation=cv2.INTER_AREA)
