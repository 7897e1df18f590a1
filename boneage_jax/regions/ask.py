"""A person outlines the films that active learning asks for.

query/ of a stage holds query.csv and films/, what is asked for, and masks/,
where the answers go.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import film_masks
from boneage_jax.imaging import png
from boneage_jax.regions import review
from boneage_jax.training import preemption

FOLDER, TABLE, FILMS, MASKS = 'query', 'query.csv', 'films', 'masks'


def answers(
  config: Any,
  stage: str,
  workdir: str,
  asked: Iterable[str],
  before: Iterable[str],
) -> dict[str, np.ndarray]:
  """Return the masks that a person drew, or ask for them and leave.

  Args:
    config, stage, workdir: of the run.
    asked: ids of the films that are needed now.
    before: ids of those that were needed in earlier rounds.

  Returns:
    masks by id, uint8 [h, w] over the net's input, 255 inside.

  Raises:
    ValueError: a file that is no mask, or one of a film that nobody asked for.
    Preempted: masks are missing; query/ and the message say which.
  """
  asked = sorted(asked)
  found = read(config, stage, workdir)
  unknown = sorted(set(found) - {*asked, *before})
  if unknown:
    raise ValueError(
      f'Expected masks of films that were asked for in '
      f'{folder(stage, workdir)}, got {", ".join(unknown[:5])}: rename or '
      'remove them.'
    )
  missing = [film for film in asked if film not in found]
  if missing:
    distributed.on_main_process(lambda: _ask(config, stage, workdir, missing))
    where = stages.path(workdir, stage, FOLDER, FILMS)
    raise preemption.Preempted(
      f'{stage}: {len(missing)} films wait for an outline, such as '
      f'{", ".join(missing[:5])}. Open {where}; for each film there draw a '
      'picture of the same size, white where the hand with its forearm is and '
      f'black elsewhere, and save it as {folder(stage, workdir)}/<id>.png. '
      'Then run the same command to go on.'
    )
  return {film: found[film] for film in asked}


def read(config: Any, stage: str, workdir: str) -> dict[str, np.ndarray]:
  """Return all masks that a person has drawn, by id."""
  where = folder(stage, workdir)
  if not storage.glob(where, '*.png'):
    return {}
  return film_masks.read_corrected(where, config[stage].input)


def folder(stage: str, workdir: str) -> str:
  """Return where the answers go."""
  return stages.path(workdir, stage, FOLDER, MASKS)


def _ask(config: Any, stage: str, workdir: str, missing: list[str]) -> None:
  """Write what is asked for anew; answers stay."""
  path = lambda *parts: stages.path(workdir, stage, FOLDER, *parts)
  storage.make_folder(path(FILMS))
  storage.make_folder(path(MASKS))
  for stale in storage.glob(path(FILMS), '*'):
    storage.remove(stale)
  for film, image in review.pictures(config, stage, workdir, missing):
    with storage.replacing(path(FILMS, f'{film}.png'), 'wb') as file:
      file.write(png.encode(image))
  with storage.replacing(path(TABLE)) as file:
    writer = tables.Writer(file)
    writer.writerow(['id', 'film', 'mask'])
    for film in missing:
      writer.writerow([film, f'{FILMS}/{film}.png', f'{MASKS}/{film}.png'])
