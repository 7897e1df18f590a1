"""The task of masks: Dice and Jaccard of each film, at the net's size.

A film's mask is where the net's probability is above one half, and of that the
largest connected component (Iglovikov 2017), as on the film itself. Overlaps
are counted where readers said what is inside and what is not. A film of which
nobody said so, as its outline was lost when it was turned back, is not judged.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import groups
from boneage_jax.imaging import components
from boneage_jax.imaging import masks
from boneage_jax.training import prediction
from boneage_jax.training.losses import segmentation as segmentation_loss

FIGURES = ('dice', 'jaccard', 'area', 'area_true')
COLUMNS = ('id', 'split', 'sex', *FIGURES)

metric_name = 'dice_error'


def format_metric(value: float) -> str:
  """Write 1 - Dice as Dice."""
  return f'Dice {1 - value:.4f}'


def check(config: Any, stage: str) -> None:
  """Refuse a stage that has no masks to learn, or a net that gives none."""
  section = config[stage]
  if section.net.name != 'unet' or not section.input.masks:
    raise ValueError(
      f"Expected {stage} with the task 'segmentation' to have net.name='unet' "
      f'and kinds of masks in input.masks, got {section.net.name!r} and '
      f'{tuple(section.input.masks)}: change --config.{stage}.net or '
      f'--config.{stage}.input.masks.'
    )
  masks.check(section.input.masks, f'{stage}.input.masks')
  if section.tta.flip or tuple(section.tta.rotate) != (0.0,):
    raise ValueError(
      f'Expected no views in {stage}.tta, as the mean Dice of several views '
      f'is that of no mask, got rotate={tuple(section.tta.rotate)} and flip='
      f'{section.tta.flip}: set --config.{stage}.tta.rotate="(0.0,)" and '
      f'--config.{stage}.tta.flip=False.'
    )


def reduce(
  outputs: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
  """Return what the net found, and what was drawn, a bit a pixel.

  Returns:
    `found`, `known` and `inside`, uint8 [B, H, W / 8], see `overlaps`; W is a
    multiple of 8, as U-Nets have it.
  """
  logits, known, inside = segmentation_loss.pixels(outputs, batch)
  bits = lambda pixels: jnp.packbits(pixels > 0, axis=-1)
  return {'found': bits(logits), 'known': bits(known), 'inside': bits(inside)}


def overlaps(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Return FIGURES of each film, [N] float64.

  Areas are shares of the net's input. Two empty masks have a Dice of 1. All are
  NaN of a film of which no pixel is known.

  Args:
    outputs: what `reduce` kept, [N, H, W / 8].
  """
  rows = [
    _overlap(*map(_pixels, one))
    for one in zip(
      outputs['found'], outputs['known'], outputs['inside'], strict=True
    )
  ]
  return dict(zip(FIGURES, np.array(rows).reshape(-1, 4).T, strict=True))


def _pixels(bits: np.ndarray) -> np.ndarray:
  return np.unpackbits(bits, axis=-1)


def _overlap(
  found: np.ndarray, known: np.ndarray, inside: np.ndarray
) -> tuple[float, ...]:
  """Return FIGURES of one film, [H, W] each."""
  if not known.any():
    return (np.nan,) * len(FIGURES)
  found = (components.largest(found)[0] > 0) & (known > 0)
  drawn = inside > 0
  both, either = int(np.sum(found & drawn)), int(np.sum(found | drawn))
  dice = 2 * both / (both + either) if either else 1.0
  jaccard = both / either if either else 1.0
  return dice, jaccard, float(found.mean()), float(drawn.mean())


def error(
  outputs: dict[str, np.ndarray], films: dict[str, np.ndarray]
) -> float:
  """Return 1 - mean Dice of the films that are judged.

  Raises:
    ValueError: there are none.
  """
  dice = overlaps(outputs)['dice']
  if np.isnan(dice).all():
    raise ValueError(
      f'Of none of the {len(films["id"])} films that judge masks it is known '
      'what is inside: outlines of films that are turned back are lost; mark '
      'others, or change --config.STAGE.input.orientation_from.'
    )
  return 1 - float(np.nanmean(dice))


def write_predictions(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Callable,
  variables: dict[str, Any],
) -> None:
  """Judge validation and test films; process 0 writes the stage's files.

  predictions.csv has COLUMNS, areas in shares of the net's input, all '' of a
  film that is not judged; segmentation.json the means of `summary` by split.
  """
  rows, result = [], {}
  for split, part, bits in prediction.held_out(
    config, stage, workdir, films, predict, variables
  ):
    outputs = overlaps(bits)
    result[split] = summary(outputs, part)
    sexes = groups.sex_text(part['sex'])
    for i, film in enumerate(part['id'].tolist()):
      values = [outputs[name][i] for name in FIGURES]
      figures = ['' if np.isnan(x) else f'{x:.5f}' for x in values]
      rows.append([film, split, sexes[i], *figures])

  def write() -> None:
    path = stages.path(workdir, stage, stages.PREDICTIONS)
    with storage.replacing(path) as file:
      writer = tables.Writer(file)
      writer.writerow(COLUMNS)
      writer.writerows(rows)
    path = stages.path(workdir, stage, stages.SEGMENTATION)
    storage.write_json(path, result, indent=1)
    for split, row in result.items():
      print(line(stage, split, row['all']), flush=True)

  distributed.on_main_process(write)


def summary(
  outputs: dict[str, np.ndarray], films: dict[str, np.ndarray]
) -> dict[str, Any]:
  """Return means of the films of a split: of all, by sex and by age band.

  Args:
    outputs: of `overlaps`.
    films: their sex, and their age in months.

  Returns:
    under `all`, `sex` (group -> means) and `age` (group -> means), the number
    of `films` that are judged and, where there are any, of those that are
    `not_judged`; of the former mean `dice` and `jaccard` and, of enough films,
    their 95 % bootstrap intervals.
  """
  judged = np.isfinite(outputs['dice'])

  def means(keep: np.ndarray) -> dict[str, Any]:
    out = {'films': int(np.sum(keep & judged))}
    if left := int(np.sum(keep & ~judged)):
      out['not_judged'] = left
    for name in ('dice', 'jaccard') if out['films'] else ():
      out |= statistics.mean(outputs[name][keep & judged], name)
    return out

  def by(group: np.ndarray, names: Any) -> dict[str, Any]:
    there = [name for name in names if (group == name).any()]
    return {name: means(group == name) for name in there}

  return {
    'all': means(np.ones(len(films['id']), bool)),
    'sex': by(groups.sex_text(films['sex']), groups.SEX),
    'age': by(groups.age_band(films['age']), groups.BANDS),
  }


def line(stage: str, split: str, row: dict[str, Any]) -> str:
  """Say how well the masks of a split are found."""
  left = row.get('not_judged', 0)
  more = f'; {left} whose outline is not known are not judged' if left else ''
  if not row['films']:
    return f'{stage}: no {split} film is judged{more}.'
  ends = row.get('dice_ci95')
  interval = ' ({:.4f} to {:.4f})'.format(*ends) if ends else ''
  return (
    f'{stage}: mean Dice {row["dice"]:.4f}{interval}, Jaccard '
    f'{row["jaccard"]:.4f}, on {row["films"]} {split} films{more}.'
  )
