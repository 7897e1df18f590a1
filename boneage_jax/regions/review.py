"""What people should look at after mining: refused masks, drawn on their films.

review/ holds review.csv, a row for each refused film, and PICTURES of them.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import os
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import film_masks
from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.imaging import overlay

FOLDER = 'review'
PICTURES = 200


def write(config: Any, stage: str, workdir: str, judged: list[Any]) -> None:
  """Write review/ of a stage anew; process 0 does.

  Args:
    config, stage, workdir: of the run.
    judged: a mine.Judged of each film.
  """
  refused = [one for one in judged if one.status == 'refused']
  folder = stages.path(workdir, stage, FOLDER)

  def work() -> None:
    storage.make_folder(folder)
    for stale in storage.glob(folder, '*'):
      storage.remove(stale)
    with storage.replacing(os.path.join(folder, 'review.csv')) as file:
      writer = tables.Writer(file)
      writer.writerow(['id', 'split', 'reason', 'picture'])
      for index, one in enumerate(refused):
        name = f'{one.film}.jpg' if index < PICTURES else ''
        writer.writerow([one.film, one.split, one.reason, name])
    masks = film_masks.FilmMasks(stages.path(workdir, stage))
    for film, image in pictures(
      config, stage, workdir, [one.film for one in refused[:PICTURES]]
    ):
      heat = masks[film].on_film(image.shape)
      with storage.replacing(os.path.join(folder, f'{film}.jpg'), 'wb') as file:
        file.write(overlay.jpeg(overlay.overlay(image, heat)))
    if refused:
      print(
        f'{stage}: {len(refused)} refused films in {folder}. Correct their '
        'masks, put them as <id>.png into a folder, and name it with '
        f'--config.{stage}.corrected.'
      )

  distributed.on_main_process(work)


def pictures(
  config: Any, stage: str, workdir: str, ids: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
  """Yield id and pixels, uint8 [H, W], of films as the stage sees them."""
  options = config[stage].input
  name = options.builder_config
  films, _ = selection.split_films(config, workdir, name)
  keep = np.isin(films['id'], ids)
  chosen = film_table.select(films, keep)
  source = selection.stage_source(config, stage, workdir, chosen)
  for index in range(len(source)):
    record = source[index]
    yield record['id'], preprocess.decode(record, options.polarity)
