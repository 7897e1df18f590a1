"""Measure whether heat maps show what a net reads.

  python -m boneage_jax.evaluate saliency runs/cascade_phantom --films=100

Deletion paints over the hottest pixels first, insertion brings them back first.
A map that shows what the net reads moves the age early: the area under |change
of age| is large for deletion and small for insertion. Maps are compared with
random maps of the same grain and with a Gaussian about the centre. On annotated
films: does the peak lie in an ossification box (the pointing game of Zhang et
al. 2018)? For a stage that reads crops, its localizer is judged. Writes
saliency.json and saliency.png to the stage's folder.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import json
import os
from typing import Any

import numpy as np
import tqdm

from boneage_jax.core import door
from boneage_jax.core import sizes
from boneage_jax.core import startup
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.evaluation import command
from boneage_jax.evaluation import deletion_insertion
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import text_table
from boneage_jax.imaging import boxes as boxes_lib
from boneage_jax.imaging import geometry
from boneage_jax.regions import localize
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib

FILMS = 100
BASELINES = ('random', 'centre')
FILLS = {'blur': 'blurred film', 'median': "film's median"}
TITLES = {
  'grad_cam': 'Grad-CAM',
  'hires_cam': 'HiResCAM',
  'centre': 'centre',
  'random': 'random',
}


def curves(judge: deletion_insertion.Judge, source: Any) -> dict[str, Any]:
  """Delete and insert by every map, with a progress bar.

  Returns:
    fill -> map -> |change of age|, months [2 of CURVES, N, STEPS + 1].
  """
  out = {kind: {name: [] for name in deletion_insertion.MAPS} for kind in FILLS}
  records = (source[i] for i in range(len(source)))
  bar = tqdm.tqdm(total=len(source), desc='saliency', unit='film', disable=None)
  with bar:
    for some in _batches(records, judge.batch_size):
      batch, maps = judge.look(some)
      for kind, name in itertools.product(FILLS, deletion_insertion.MAPS):
        found = judge.curves(batch, maps[name], kind)
        out[kind][name].append(found[:, : len(some)])
      bar.update(len(some))
  return {
    kind: {name: np.concatenate(v, axis=1) for name, v in of.items()}
    for kind, of in out.items()
  }


def areas(found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
  """Compare the areas under what `curves` returned.

  Returns:
    fill -> curve -> map -> area, its mean in months (over the share of pixels,
    0 to 1), and less_random and less_centre, the mean differences; each with
    its _ci95, films resampled in pairs.
  """
  out: dict[str, Any] = {}
  for kind, (row, curve) in itertools.product(
    FILLS, enumerate(deletion_insertion.CURVES)
  ):
    under = {
      name: np.trapezoid(v[row], dx=1 / deletion_insertion.STEPS, axis=1)
      for name, v in found[kind].items()
    }
    out.setdefault(kind, {})[curve] = {
      name: statistics.mean(area, 'area')
      | {
        key: value
        for base in BASELINES
        if name not in BASELINES
        for key, value in statistics.mean(
          area - under[base], f'less_{base}'
        ).items()
      }
      for name, area in under.items()
    }
  return out


def over_films(
  judge: deletion_insertion.Judge, records: Iterator[Any]
) -> Iterator[tuple[localize.Film, dict[str, np.ndarray]]]:
  """Yield films, as a run reads them, with their maps: name -> [h, w]."""
  size = sizes.size_hw(judge.input.size)
  for some in _batches(records, judge.batch_size):
    _, maps = judge.look(some)
    for k, record in enumerate(some):
      film = localize.load_film(record, judge.input)
      hw = film.image.shape
      matrix = geometry.fit_matrix(hw, size, judge.input.resize)
      yield (
        film,
        {
          name: geometry.over_film(maps[name][k], matrix, size, hw)
          for name in deletion_insertion.MAPS
        },
      )


def pointing(
  judge: deletion_insertion.Judge, source: Any
) -> dict[str, dict[str, Any]]:
  """Play the pointing game on the annotated films of a source.

  Returns:
    map -> 'any' and 'wrist' -> n (films with such a box), share (of peaks in
    it) and share_ci95 (Wilson's); empty where no film has boxes.
  """
  inside: dict[str, dict[str, list]] = {}
  records = (source[i] for i in range(len(source)))
  has_boxes = lambda record: json.loads(record['annotations'] or '{}').get(
    'boxes'
  )
  for film, maps in over_films(judge, filter(has_boxes, records)):
    boxes = boxes_lib.annotated_boxes(film.annotations)
    for name, heat in maps.items():
      y, x = np.unravel_index(np.argmax(heat), heat.shape)
      peak = ((x + 0.5) / heat.shape[1], (y + 0.5) / heat.shape[0])
      hit = {label: _any_holds(b, peak) for label, b in boxes.items()}
      rows = inside.setdefault(name, {'any': [], 'wrist': []})
      rows['any'].append(any(hit.values()))
      if 'Wrist' in hit:
        rows['wrist'].append(hit['Wrist'])
  return {
    name: {
      key: {
        'n': len(hits),
        'share': float(np.mean(hits)),
        'share_ci95': statistics.wilson(sum(hits), len(hits)),
      }
      for key, hits in rows.items()
      if hits
    }
    for name, rows in inside.items()
  }


def judge_maps(judge: deletion_insertion.Judge, count: int) -> dict[str, Any]:
  """Judge the maps of a net on test films; return the content of saliency.json.

  Returns:
    run, data; target and mirror of the maps; films (ids of test films);
    curves: fill -> curve -> map -> means over films [STEPS + 1]; areas and
    pointing, of the functions of these names.
  """
  films, source = judge.source(['test'], count)
  found = curves(judge, source)
  return {
    'run': judge.run.name,
    'data': judge.run.data,
    'target': judge.target,
    'mirror': judge.mirror,
    'films': films['id'].tolist(),
    'curves': {
      kind: {
        curve: {n: v[row].mean(axis=0).tolist() for n, v in of.items()}
        for row, curve in enumerate(deletion_insertion.CURVES)
      }
      for kind, of in found.items()
    },
    'areas': areas(found),
    'pointing': pointing(judge, judge.source(['test', 'validation'])[1]),
  }


def saliency_table(result: Mapping[str, Any]) -> str:
  """Lay out what `judge_maps` returned."""
  mirror = ', averaged with that of the mirror image' * result['mirror']
  parts = [
    f'{result["run"]}: {lineage.dataset_line(result["data"])}',
    f'{len(result["films"])} test films; maps of the target '
    f"'{result['target']}'{mirror}. Area under |change of age|, months.",
  ]
  head = ['area', '95 % interval']
  for base in BASELINES:
    head += [f'less {base}', '95 % interval']
  for curve, wanted in zip(
    deletion_insertion.CURVES, ('large', 'small'), strict=True
  ):
    for kind, title in FILLS.items():
      rows = []
      for name, row in result['areas'][kind][curve].items():
        cells = [TITLES[name], f'{row["area"]:.2f}']
        cells.append(text_table.interval(row, 'area'))
        for key in (f'less_{base}' for base in BASELINES):
          if key in row:
            cells += [f'{row[key]:+.2f}', text_table.interval(row, key, '+')]
        rows.append(cells)
      what = f'{curve} ({wanted} is good), {title}'
      parts.append(text_table.layout((what, *head), rows))
  rows = [
    [TITLES[name], *(cell for key in of for cell in _shares(of[key]))]
    for name, of in result['pointing'].items()
  ]
  if rows:
    head = ['films', 'in any box', '95 % interval']
    head += ['films', 'in the wrist box', '95 % interval']
    parts.append(text_table.layout(('peak, test and validation', *head), rows))
  return '\n\n'.join(parts)


def plot(result: Mapping[str, Any]) -> plot_style.Draw:
  """Plot the mean curves of every map, a panel for each fill and curve."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    figure.set_size_inches(8.4, 6.4)
    panels = figure.subplots(2, 2, sharex=True, sharey='row')
    looks = dict(
      zip(
        deletion_insertion.MAPS,
        zip(
          ('accent', 'M', 'F', 'faint'),
          ('-', '--', '-.', ':'),
          strict=True,
        ),
        strict=True,
      )
    )
    for line, (kind, title) in zip(panels, FILLS.items(), strict=True):
      for axes, curve in zip(line, deletion_insertion.CURVES, strict=True):
        for name, (colour, dash) in looks.items():
          means = result['curves'][kind][curve][name]
          share = np.linspace(0, 100, len(means))
          axes.plot(
            share, means, dash, color=palette[colour], label=TITLES[name]
          )
        axes.set_title(f'{curve}, {title}')
    for axes in panels[1]:
      axes.set_xlabel('pixels, hottest first (%)')
    for axes in panels[:, 0]:
      axes.set_ylabel('|change of age| (months)')
    panels[0, 1].legend()

  return draw


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('saliency', __doc__)
  parser.add_argument('run', metavar='RUN[:stage]')
  parser.add_argument(
    '--films',
    type=int,
    default=FILMS,
    help='number of test films; chosen by a hash of their id',
  )
  parser.add_argument(
    '--batch_size', type=int, default=deletion_insertion.BATCH
  )
  parser.add_argument('--out', help="folder to write; default: the stage's")
  args = parser.parse_args(argv)
  with door.one_line_errors():
    startup.set_up()
    startup.check_device()
    judge = deletion_insertion.Judge(
      run_lib.read_run(args.run), args.batch_size
    )
    result = judge_maps(judge, args.films)
    folder = args.out or judge.run.folder
    storage.make_folder(folder)
    storage.write_json(os.path.join(folder, 'saliency.json'), result, indent=1)
    with storage.replacing(os.path.join(folder, 'saliency.png'), 'wb') as file:
      file.write(plot_style.png(plot(result)))
  print(saliency_table(result))


def _batches(records: Iterator[Any], size: int) -> Iterator[list[Any]]:
  while some := list(itertools.islice(records, size)):
    yield some


def _any_holds(boxes: np.ndarray, point: tuple[float, float]) -> bool:
  inside = (point >= boxes[:, :2]) & (point <= boxes[:, 2:])
  return bool(inside.all(axis=1).any())


def _shares(row: Mapping[str, Any]) -> list[str]:
  low, high = row['share_ci95']
  ends = f'{100 * low:.0f} to {100 * high:.0f}'
  return [str(row['n']), f'{100 * row["share"]:.1f} %', ends]
