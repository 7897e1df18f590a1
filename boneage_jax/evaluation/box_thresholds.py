"""Compare boxes at a sweep of thresholds with annotated boxes.

  python -m boneage_jax.evaluate box-thresholds runs/cascade_phantom:regions

The heat maps that a locate stage kept are cut at 10, 20, ... 100 of 255. Each
box is compared with the annotated one (Chen 2020, Table I). Whoever chooses a
threshold by this table has seen its films: --split=train leaves the others out.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

import ml_collections
import numpy as np
import tqdm

from boneage_jax.core import config as config_lib
from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.evaluation import command
from boneage_jax.evaluation import text_table
from boneage_jax.imaging import boxes
from boneage_jax.imaging import codec
from boneage_jax.imaging import geometry
from boneage_jax.runs import located

LEVELS = tuple(range(10, 101, 10))  # of 255, paper
SIDE = 256  # pixels of the long side at which maps are cut


def truth_box(film: Mapping[str, Any], truth: str) -> np.ndarray | None:
  """Return the hand box of a film's annotations, or the first box of a label.

  None where nobody drew one.
  """
  if truth == 'hand_box':
    return np.array(film[truth]) if truth in film else None
  found = boxes.annotated_boxes(film).get(truth)
  return None if found is None else found[0]


def overlap_summary(overlaps: Sequence[float]) -> dict[str, float]:
  """Summarise the IoU of one box a film.

  Returns:
    n, miou, and ap50: with one box and one truth in every film and no ranking,
    the average precision at an IoU of 0.5 is the share of films that reach it.
  """
  overlaps = np.asarray(overlaps, np.float64)
  return {
    'n': len(overlaps),
    'miou': float(overlaps.mean()),
    'ap50': float(np.mean(overlaps >= 0.5)),
  }


def overlap(
  heat: np.ndarray,
  film_hw: tuple[int, int],
  resize: str,
  truth: np.ndarray,
  level: float,
  component: str,
) -> float:
  """Return the IoU of a map's box, cut at `level` of 255, with `truth`.

  Args:
    heat: [h, w] over the net's input.
    film_hw: height and width of the film, in any unit.
    resize: how films become net inputs.
    truth: x0, y0, x1, y1.
    level: of 255.
    component: of boxes.box_from_map.
  """
  scale = SIDE / max(film_hw)
  film_hw = tuple(max(1, round(side * scale)) for side in film_hw)
  matrix = geometry.fit_matrix(film_hw, heat.shape, resize)
  heat = geometry.unwarp(heat.astype(np.float32), matrix, heat.shape, film_hw)
  box = boxes.box_from_map(heat, level / 255, component, minimum_side=0.0)
  return float(boxes.iou(box.box, truth)) if box.found else 0.0


def sweep(
  config: ml_collections.ConfigDict,
  workdir: str,
  stage: str,
  truth: str,
  split: str = '',
) -> dict[str, Any]:
  """Measure the first region of a locate stage at all LEVELS.

  Returns:
    stage, truth, split ('all' without one), threshold (the run's, of 255) and
    levels: level -> `figures`.

  Raises:
    ValueError: the stage locates nothing, has not run, or no film of it has
      such an annotation.
  """
  if stage not in config or config[stage].job != 'locate':
    known = [n for n, s in stages.sections(config).items() if s.job == 'locate']
    raise ValueError(
      f'Expected a locate stage of {workdir}, got {stage!r}: choose one of '
      f'{", ".join(known) or "none"}.'
    )
  options = config[stage]
  _, _, heat = located.read_located(workdir, stage)
  if not heat.get('maps'):
    raise ValueError(f'No maps in {workdir}: run the stage {stage!r} first.')
  films, _ = selection.split_films(
    config, workdir, options.input.builder_config
  )
  if split:
    films = selection.select_split(films, split)
  rotations = selection.film_rotations(
    workdir, stages.Stage(config, stage, workdir).orientation()
  )
  source = sources.whole_films(
    config, workdir, options.input.builder_config, films, rotations
  )
  rows = []
  for record in tqdm.tqdm(source, 'boxes', unit='film', disable=None):
    box = truth_box(json.loads(record['annotations'] or '{}'), truth)
    if box is None or record['id'] not in heat['maps']:
      continue
    hw = codec.decode_stored(record['image']).shape
    one = heat['maps'][record['id']][0]
    rows.append(
      [
        overlap(one, hw, heat['resize'], box, level, options.component)
        for level in LEVELS
      ]
    )
  if not rows:
    raise ValueError(
      f'Expected films with {truth} of {split or "any split"}, found none: '
      'annotations lie in annotations/ beside the archive.'
    )
  return {
    'stage': stage,
    'truth': truth,
    'split': split or 'all',
    'threshold': 255 * options.threshold[0],
    'levels': {
      level: overlap_summary(column)
      for level, column in zip(LEVELS, np.transpose(rows), strict=True)
    },
  }


def thresholds_table(result: Mapping[str, Any]) -> str:
  """Lay out what `sweep` returned."""
  rows = [
    [str(level), str(row['n']), f'{row["miou"]:.3f}', f'{row["ap50"]:.3f}']
    for level, row in result['levels'].items()
  ]
  return (
    f'{result["stage"]} against {result["truth"]}, films: {result["split"]}; '
    f'the run cuts at {result["threshold"]:.0f} of 255\n'
    + text_table.layout(('threshold', 'films', 'mIoU', 'AP50'), rows)
  )


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('box-thresholds', __doc__)
  parser.add_argument('run', metavar='RUN:STAGE')
  parser.add_argument(
    '--truth',
    default='hand_box',
    help='hand_box, or a label of annotated boxes such as Wrist',
  )
  parser.add_argument(
    '--split',
    default='',
    choices=('', *splits.SPLITS),
    help='films to measure on; default: all',
  )
  parser.add_argument('--out', help='JSON file to write')
  args = parser.parse_args(argv)
  with door.one_line_errors():
    workdir, _, stage = args.run.rpartition(':')
    workdir = storage.absolute(workdir)
    path = stages.config_path(workdir)
    if not storage.exists(path):
      raise ValueError(f'Expected RUN:STAGE, a run and its stage: {args.run}.')
    config = config_lib.read_config(path)
    result = sweep(config, workdir, stage, args.truth, args.split)
  print(thresholds_table(result))
  if args.out:
    storage.write_json(args.out, result, indent=1)
