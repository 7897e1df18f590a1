"""Tell which bones carry the age when: errors by region and puberty.

  python -m boneage_jax.evaluate regions runs/registration_phantom

Compares the stages of a run that read one region each, such as the carpal
bones, before, in and after puberty (Gilsanz and Ratib, with the bounds of
Iglovikov et al. 2017). A film's error is the mean absolute error of the nets
that read one region of it, whatever kind they are. All regions are judged on
the films that all of them predicted. Cells of fewer than 20 films show their
number alone.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any
from typing import NamedTuple

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import command
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import text_table
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib

FILES = ('region_ages.json', 'region_ages.png')
CELL_FILMS = 20  # fewer films of a cell are counted, not measured
ALL = 'all ages'
STAGES = ('three', 'six')
LOOKS = (('ink', 'o'), ('accent', 's'), ('faint', '^'), ('unknown', 'D'))
NETS = {'': 'both', 'F': 'girls', 'M': 'boys'}


class Net(NamedTuple):
  """A stage that reads one region: its sex, '' for both, and its kind."""

  region: str
  sex: str
  kind: str


def nets_of_regions(config: Any) -> dict[str, Net]:
  """Return the stages of a config that tell ages from one region each.

  Of several with one region, sex and kind the first by name: a further net of a
  region is no reason why that region should be better.
  """
  found: dict[str, Net] = {}
  for name, section in sorted(stages.sections(config).items()):
    regions = section.get('input', {}).get('regions', ())
    age = section.job == 'train' and section.get('task', 'age') == 'age'
    if age and len(regions) == 1:
      kind = (
        'expectation' if section.net.get('output') == 'bins' else 'regression'
      )
      net = Net(regions[0], section.input.get('sex', ''), kind)
      if net not in found.values():
        found[name] = net
  return found


def region_ages(workdir: str, which: str = 'three') -> dict[str, Any]:
  """Measure the errors of a run's regions by puberty.

  Args:
    workdir: of the run.
    which: 'three' parts of puberty (`groups.phase`), or the 'six' stages.

  Returns:
    The content of region_ages.json: run; data; parts, their names in order;
    nets: stage -> region, sex, kind; missing: stages without predictions;
    left_out: sex of nets -> films that not all of them predicted; splits:
    split -> rows of region, nets (the sex, or ''), films ('all', 'F' or 'M'),
    and cells: part, or ALL -> n and, of CELL_FILMS films or more, mae with
    mae_ci95, months.

  Raises:
    ValueError: no stage reads one region, or none has predictions.
  """
  nets = nets_of_regions(run_lib.read_config(workdir))
  there = {
    name: net
    for name, net in nets.items()
    if storage.exists(stages.path(workdir, name, stages.PREDICTIONS))
  }
  if not there:
    raise ValueError(
      f'Expected predictions in {workdir} of stages that read one region each '
      '(input.crops_from, and one name in input.regions), got none of '
      f'{", ".join(nets) or "no such stage"}: run them first.'
    )
  parts = _names(which)
  splits: dict[str, list] = {}
  left_out, data = {}, {}
  for sex in NETS:
    own = [name for name, net in there.items() if net.sex == sex]
    if not own:
      continue
    runs = [run_lib.read_run(workdir, name) for name in own]
    films, data = run_lib.align_predictions(runs), runs[0].data
    every = set().union(*(run.rows['id'].tolist() for run in runs))
    left_out[sex] = len(every) - len(films['id'])
    for split in splits_lib.HELD_OUT:
      of = films['split'][0] == split
      if of.any():
        rows = _rows(films, of, [there[name] for name in own], which)
        splits.setdefault(split, []).extend(rows)
  return {
    'run': os.path.basename(os.path.abspath(workdir)),
    'data': data,
    'parts': parts,
    'nets': {name: net._asdict() for name, net in there.items()},
    'missing': sorted(set(nets) - set(there)),
    'left_out': left_out,
    'splits': splits,
  }


def _names(which: str) -> list[str]:
  if which == 'six':
    return [name for name, _, _ in groups.STAGES]
  return list(groups.PHASES)


def _rows(
  films: Mapping[str, np.ndarray],
  of: np.ndarray,
  nets: Sequence[Net],
  which: str,
) -> list[dict[str, Any]]:
  """Return the rows of the nets of one sex, see `region_ages`.

  Args:
    films: of `run.align_predictions`, a row of predictions for each net.
    of: films of the split, bool [N].
    nets: of one sex.
    which: of STAGES.
  """
  age, sexes = films['age'], groups.sex_text(films['sex'])
  label = groups.stage if which == 'six' else groups.phase
  labels, sex = label(age, films['sex']), nets[0].sex
  size, rows = np.abs(films['prediction'] - age), []
  for region in dict.fromkeys(net.region for net in nets):
    error = size[[net.region == region for net in nets]].mean(axis=0)
    for who in (sex,) if sex else ('all', 'F', 'M'):
      chosen = of & ((sexes == who) | (who == 'all'))
      cells = {ALL: _cell(error[chosen])}
      for part in _names(which):
        cells[part] = _cell(error[chosen & (labels == part)])
      rows.append({'region': region, 'nets': sex, 'films': who, 'cells': cells})
  return rows


def _cell(error: np.ndarray) -> dict[str, Any]:
  """Count films and, where they are enough, average their errors [N]."""
  few = len(error) < CELL_FILMS
  return {'n': len(error)} | ({} if few else statistics.mean(error, 'mae'))


def region_table(result: Mapping[str, Any]) -> str:
  """Lay out what `region_ages` returned."""
  parts = [f'{result["run"]}: {lineage.dataset_line(result["data"])}']
  if 'test' not in result['splits']:
    parts.append(text_table.NO_TEST)
  for split, rows in result['splits'].items():
    columns = (ALL, *result['parts'])
    cells = [
      [
        row['region'],
        NETS[row['nets']],
        groups.PLURAL.get(row['films'], 'all'),
        *(cell_text(row['cells'][column]) for column in columns),
      ]
      for row in rows
    ]
    head = (f'{split}: region', 'nets of', 'films', *columns)
    parts.append(text_table.layout(head, cells))
  parts.append(
    'MAE in months, its 95 % interval, and films. Fewer than '
    f'{CELL_FILMS} films are counted alone. Means over the kinds of nets.'
  )
  if any(result['left_out'].values()):
    each = (f'{NETS[s]} {n}' for s, n in result['left_out'].items())
    parts.append(
      f'Left out, as not all regions have them, by nets: {", ".join(each)}.'
    )
  if result['missing']:
    parts.append(f'Without predictions: {", ".join(result["missing"])}.')
  return '\n\n'.join(parts)


def cell_text(cell: Mapping[str, Any]) -> str:
  """Write MAE, interval and number of films, or the number alone."""
  if 'mae' not in cell:
    return f'({cell["n"]})'
  interval = text_table.interval(cell, 'mae')
  return f'{cell["mae"]:.2f} [{interval}] ({cell["n"]})'


def _judged(result: Mapping[str, Any]) -> str:
  return 'test' if 'test' in result['splits'] else 'validation'


def shown(result: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
  """Return the rows that the figure shows: of test films where there are any.

  Returns:
    'F' and 'M' -> rows of these films, one of each region: of nets of that sex
    where there are any, else of nets of both.
  """
  rows, found = result['splits'][_judged(result)], {}
  for sex in ('F', 'M'):
    of_sex = [row for row in rows if row['films'] == sex]
    own = [row for row in of_sex if row['nets'] == sex]
    found[sex] = own or of_sex
  return {sex: rows for sex, rows in found.items() if rows}


def draw(canvas: Any, palette: plot_style.Palette, result: Any) -> None:
  """Draw the errors of the regions by puberty, a panel for each sex."""
  panels = shown(result)
  parts = result['parts']
  canvas.set_size_inches(4.2 * len(panels) * max(1.0, len(parts) / 4), 4.4)
  all_axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False)[0]
  regions = list(dict.fromkeys(r['region'] for p in panels.values() for r in p))
  for axes, (sex, rows) in zip(all_axes, panels.items(), strict=True):
    for row in rows:
      k = regions.index(row['region'])
      colour, marker = LOOKS[k % len(LOOKS)]
      cells = [(x, row['cells'][part]) for x, part in enumerate(parts)]
      cells = [(x, cell) for x, cell in cells if 'mae' in cell]
      place = [x + 0.2 * (k - (len(regions) - 1) / 2) for x, _ in cells]
      mae = np.array([cell['mae'] for _, cell in cells])
      ends = np.array([cell['mae_ci95'] for _, cell in cells]).reshape(-1, 2)
      axes.errorbar(
        place,
        mae,
        yerr=np.abs(ends.T - mae),
        fmt=marker,
        color=palette[colour],
        capsize=3,
        label=row['region'],
      )
    counts = [rows[0]['cells'][part]['n'] for part in parts]
    lines = [part.replace(' puberty', '\npuberty') for part in parts]
    ticks = [f'{t}\n{n} films' for t, n in zip(lines, counts, strict=True)]
    axes.set_xticks(range(len(parts)), ticks)
    axes.set_xlim(-0.5, len(parts) - 0.5)
    axes.grid(False, axis='x')
    nets = 'both sexes' if not rows[0]['nets'] else groups.PLURAL[sex]
    axes.set_title(f'{groups.PLURAL[sex].capitalize()} (nets of {nets})')
  all_axes[0].set_ylim(bottom=0)
  split = _judged(result)
  all_axes[0].set_ylabel(f'mean absolute error of {split} films, months')
  canvas.legend(
    *all_axes[0].get_legend_handles_labels(),
    loc='outside lower center',
    ncols=len(regions),
  )


def write_region_ages(folder: str, result: Mapping[str, Any]) -> None:
  """Write FILES."""
  storage.make_folder(folder)
  storage.write_json(os.path.join(folder, FILES[0]), result, indent=1)
  picture = plot_style.png(lambda *where: draw(*where, result))
  with storage.replacing(os.path.join(folder, FILES[1]), 'wb') as file:
    file.write(picture)


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('regions', __doc__)
  parser.add_argument('run', metavar='RUN')
  parser.add_argument(
    '--stages',
    choices=STAGES,
    default='three',
    help='parts of puberty: before, in and after it, or its six stages',
  )
  parser.add_argument('--out', help="folder to write; default: the run's")
  args = parser.parse_args(argv)
  with door.one_line_errors():
    workdir = storage.absolute(args.run)
    result = region_ages(workdir, args.stages)
    write_region_ages(args.out or workdir, result)
  print(region_table(result))
