"""Measure how far corrupted films move the estimates of a run.

  python -m boneage_jax.evaluate robustness runs/cascade_phantom --films=200

Every corruption of `imaging/corruptions.py` is applied to test films. These
then go the whole way of a new film: regions are found anew. Writes
robustness.json, robustness.csv and robustness.png to the stage's folder.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import os
from typing import Any

import numpy as np
import tqdm

from boneage_jax.core import door
from boneage_jax.core import startup
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import film_table
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.data import splits
from boneage_jax.evaluation import command
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import text_table
from boneage_jax.imaging import codec
from boneage_jax.imaging import corruptions
from boneage_jax.inference import loading
from boneage_jax.inference import one_film
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib

FILMS, BATCH = 200, 16
MOVED = 12  # months; one of metrics.WITHIN
TICKS = (-50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50, 100)
HEAD = (
  'severity',
  'MAE',
  'change',
  '95 % interval',
  'bias change',
  '95 % interval',
  f'moved > {MOVED} mo',
  'flagged',
  'change of the others',
)


def estimates(
  predictor: loading.Either,
  records: Any,
  cases: Sequence[Callable[[np.ndarray, str], np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
  """Predict every film as it is and corrupted, with a progress bar.

  Args:
    predictor: with any batch_size.
    records: items as of `sources.film_source`.
    cases: (uint8 [H, W] with bright bones, film id) -> the like.

  Returns:
    Months [1 + cases, N], the films as they are first; and which of these have
    a quality flag, bool.
  """
  bright = lambda film: 255 - film if predictor.inverted else film
  size, numbers = predictor.batch_size, range(len(records))
  batches = [numbers[i : i + size] for i in numbers[::size]]
  out = np.zeros((1 + len(cases), len(records)))
  flagged = np.zeros(out.shape, bool)
  bar = tqdm.tqdm(total=out.size, desc='robustness', unit='film', disable=None)

  def run(batch: range) -> None:
    here = [records[i] for i in batch]
    films = [bright(codec.decode_stored(record['image'])) for record in here]
    for i, case in enumerate((lambda film, _: film, *cases)):
      views = [
        {**record, 'image': codec.bitmap(bright(case(film, record['id'])))}
        for record, film in zip(here, films, strict=True)
      ]
      outputs, seen = predictor.outputs(views)
      out[i, batch.start : batch.stop] = outputs['age']
      rows = [
        {name: x[k] for name, x in outputs.items()} for k in range(len(seen))
      ]
      flags = [
        bool(one_film.judged(predictor, film, row)[0])
        for film, row in zip(seen, rows, strict=True)
      ]
      flagged[i, batch.start : batch.stop] = flags
      bar.update(len(batch))

  with bar, futures.ThreadPoolExecutor(2) as pool:
    run(batches[0])  # alone, or the nets would be compiled twice
    list(pool.map(run, batches[1:]))
  return out, flagged


def effect(
  age: np.ndarray,
  plain: np.ndarray,
  corrupted: np.ndarray,
  flagged: np.ndarray,
) -> dict[str, Any]:
  """Compare the estimates of corrupted films with those of the same films.

  Args:
    age: of the films, months [N].
    plain: estimates of the films as they are, months [N].
    corrupted: estimates of the corrupted films, months [N].
    flagged: which of these have a quality flag, bool [N].

  Returns:
    mae of the corrupted films; change, their mae minus that of the films as
    they are; bias_change, the mean of corrupted - plain; both changes with
    their _ci95 (films resampled in pairs); moved, the share of films that move
    by more than MOVED months; flagged, the share with a quality flag; and, if
    INTERVAL_FILMS films or more have none, their change as trusted_change.
  """
  pair = metrics.paired_difference(age, corrupted, plain)
  move = metrics.error_summary(corrupted - plain)
  out = {
    'mae': pair['mae_a'],
    'change': pair['difference'],
    'bias_change': move['bias'],
    'moved': 1 - move[f'within_{MOVED}'],
    'flagged': float(flagged.mean()),
  }
  if np.sum(~flagged) >= statistics.INTERVAL_FILMS:
    some = (values[~flagged] for values in (age, corrupted, plain))
    out['trusted_change'] = metrics.paired_difference(*some)['difference']
  if 'difference_ci95' in pair:
    out['change_ci95'] = pair['difference_ci95']
    out['bias_change_ci95'] = move['bias_ci95']
  return out


def run_suite(
  run: run_lib.Run, count: int = FILMS, batch_size: int = BATCH
) -> dict[str, Any]:
  """Corrupt test films of a run; return the content of robustness.json.

  Returns:
    run; data; films (ids); plain: the errors of the films as they are, and the
    share that is flagged; rows: name, severity and what `effect` returns.

  Raises:
    ValueError: the run is an ensemble, or has no test film.
  """
  if run.config is None:
    raise ValueError(
      f'Expected the folder of a run, got the ensemble {run.name}; name a '
      'member as RUN:STAGE, or a fold as RUN/fold_0:STAGE.'
    )
  workdir, stage = os.path.split(run.folder)
  predictor = loading.load(workdir, stage, batch_size)
  films, _ = selection.split_films(
    run.config, workdir, predictor.builder_config
  )
  films = selection.of_sex(films, run.config[stage])
  films = selection.select_split(films, 'test')
  if not len(films['id']):
    raise ValueError(f'Expected test films of {run.name}, got none.')
  films = film_table.select(films, splits.some(films['id'], count))
  folder = sources.prepared_folder(workdir, predictor.builder_config)
  source = sources.film_source(folder, films)
  (plain, *corrupted), flagged = estimates(predictor, source, corruptions.CASES)
  age = films['age'].astype(np.float64)
  rows = zip(corruptions.CASES, corrupted, flagged[1:], strict=True)
  own = metrics.error_summary(plain - age) | {
    'flagged': float(flagged[0].mean())
  }
  return {
    'run': run.name,
    'data': run.data,
    'films': films['id'].tolist(),
    'plain': own,
    'rows': [
      {
        'name': case.name,
        'severity': case.severity,
        **effect(age, plain, row, flags),
      }
      for case, row, flags in rows
    ],
  }


def robustness_table(result: Mapping[str, Any]) -> str:
  """Lay out what `run_suite` returned."""
  plain = result['plain']
  share = lambda row: f'{100 * row["flagged"]:.1f} %'
  rows = [
    ['as they are', '', f'{plain["mae"]:.2f}', *[''] * 5, share(plain), ''],
  ]
  before = ''
  for row in result['rows']:
    rows.append(
      [
        row['name'] if row['name'] != before else '',
        row['severity'],
        f'{row["mae"]:.2f}',
        f'{row["change"]:+.2f}',
        text_table.interval(row, 'change', '+'),
        f'{row["bias_change"]:+.2f}',
        text_table.interval(row, 'bias_change', '+'),
        f'{100 * row["moved"]:.1f} %',
        share(row),
        f'{row["trusted_change"]:+.2f}' if 'trusted_change' in row else '',
      ]
    )
    before = row['name']
  title = f'{plain["n"]} test films'
  return (
    f'{result["run"]}: {lineage.dataset_line(result["data"])}\n\n'
    + text_table.layout((title, *HEAD), rows)
    + '\n\nChanges are against the films as they are, resampled in pairs.\n'
    'Flagged: `predict` warns about the quality of the film. The last column '
    'is the change\nof the films without a flag, if there are '
    f'{statistics.INTERVAL_FILMS} or more.'
  )


def bars(result: Mapping[str, Any]) -> plot_style.Draw:
  """Plot the change of the MAE by every corruption, with its interval."""

  def draw(figure: Any, palette: plot_style.Palette) -> None:
    rows = result['rows'][::-1]
    figure.set_size_inches(6.4, 0.5 + 0.19 * len(rows))
    axes = figure.subplots()
    place = np.arange(len(rows))
    colours = [
      palette['faint' if r['flagged'] > 0.5 else 'accent'] for r in rows
    ]
    axes.barh(place, [r['change'] for r in rows], color=colours)
    intervals = [r.get('change_ci95', [r['change']] * 2) for r in rows]
    for y, interval in zip(place, intervals, strict=True):
      axes.plot(interval, [y, y], color=palette['ink'], lw=1.4)
    names = [f'{row["name"]} {row["severity"]}' for row in rows]
    axes.set_yticks(place, names, fontsize=8.5)
    axes.set_xscale('symlog', linthresh=5)  # small changes beside large ones
    axes.set_xticks(TICKS, [f'{tick:g}' for tick in TICKS])
    axes.set_xticks([], minor=True)
    axes.set_xlim(1.1 * np.min(intervals) - 1, 1.1 * np.max(intervals) + 1)
    axes.set(ylim=(-0.7, len(rows) - 0.3), xlabel='change of the MAE (months)')
    title = f'Corrupted films, n = {result["plain"]["n"]}'
    axes.set_title(f'{title} (grey: most are flagged)')

  return draw


def write_robustness(folder: str, result: Mapping[str, Any]) -> None:
  """Write robustness.json, robustness.csv and robustness.png to a folder."""
  storage.make_folder(folder)
  storage.write_json(os.path.join(folder, 'robustness.json'), result, indent=1)
  with storage.replacing(os.path.join(folder, 'robustness.csv')) as file:
    writer = tables.Writer(file)
    keys = ('name', 'severity', 'mae', 'change', 'bias_change', 'moved')
    keys += ('flagged', 'trusted_change')
    ends = ('change_ci95', 'bias_change_ci95')
    sides = [f'{end}_{side}' for end in ends for side in ('low', 'high')]
    writer.writerow([*keys, *sides])
    for row in result['rows']:
      intervals = [v for end in ends for v in row.get(end, ('', ''))]
      writer.writerow([*(row.get(key, '') for key in keys), *intervals])
  with storage.replacing(os.path.join(folder, 'robustness.png'), 'wb') as file:
    file.write(plot_style.png(bars(result)))


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('robustness', __doc__)
  parser.add_argument('run', metavar='RUN[:stage]')
  parser.add_argument(
    '--films',
    type=int,
    default=FILMS,
    help='number of test films; chosen by a hash of their id',
  )
  parser.add_argument('--batch_size', type=int, default=BATCH)
  parser.add_argument('--out', help="folder to write; default: the stage's")
  args = parser.parse_args(argv)
  with door.one_line_errors():
    startup.set_up()
    startup.check_device()
    run = run_lib.read_run(args.run)
    result = run_suite(run, args.films, args.batch_size)
    write_robustness(args.out or run.folder, result)
  print(robustness_table(result))
