"""Lay figures of papers beside those of runs of the same systems.

  python -m boneage_jax.evaluate published runs/larson_half runs/ren_half

A config quotes its paper: figures, the films that they are of, and who says so.
Each paper has a heading of its own, with our figures on test films beside what
it reached, the nets of the run, and a table of what a run does otherwise. Films
differ, and so do the ways to hold them out: figures stand side by side, but do
not compare. docs/how-to/papers.md says which configs quote a paper, and how a
command line does.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import os
import string
from typing import Any

from boneage_jax.core import config as config_lib
from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import command
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import text_table
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib

HEAD = ('films', 'MAE', '95 % interval', 'validation', 'the paper')
KEYS = ('n', 'mae', 'mae_ci95')
SIZES = ('depth', 'variant', 'width', 'endpoint')  # of a backbone
REMEDY = (
  'To quote one, give the command of the run again with '
  '--config.report.paper=NAME and --config.report.published=ROWS: finished '
  'stages stay. docs/how-to/papers.md has an example, and lists the configs '
  'that quote one.'
)


def check(report: stages.Stage) -> None:
  """Check what a report quotes of a paper.

  Raises:
    ValueError: a row has another form than others, or names no stage; or the
      paper has no name.
  """
  rows = report.section.get('published', ())
  if rows and not report.section.get('paper'):
    raise ValueError(
      f'Expected --config.{report.name}.paper to name whom '
      f'{report.name}.published quotes, got none.'
    )
  for row in rows:
    try:
      name, what, figures = row
      good = all(float(mae) > 0 and films for mae, films, _ in figures)
    except (TypeError, ValueError):
      good = False
    if not good:
      raise ValueError(
        f'Expected rows of {report.name}.published as (stage, what it is, '
        f'((MAE in months, films, source), ...)), got {row}.'
      )
    if name not in report.config:
      raise ValueError(
        f'Expected {report.name}.published to name stages, got {name!r} for '
        f'{what!r}.'
      )


def beside_paper(
  config: Any, workdir: str, stage: str = 'report'
) -> dict[str, Any]:
  """Gather the figures of a run beside those of its paper.

  Args:
    config: of the run.
    workdir: of the run.
    stage: that names the paper, see `common.report_stage`.

  Returns:
    The content of published.json: run; paper; config, its name; data, of
    `lineage.data_set`; random, the nets that start from random weights;
    differs: rows of what, paper and here; rows: stage, row, figures (mae in
    months, films and source), nets of `age_nets`, and split -> n, mae and of
    enough films mae_ci95, for stages that have predictions.
  """
  section = config[stage]
  rows, data, read = [], {}, {}
  for of, row, figures in section.published:
    if of not in read:
      read[of], known = _held_out(workdir, of)
      data = data or known
    quoted = [
      {'mae': mae, 'films': films, 'source': source}
      for mae, films, source in figures
    ]
    nets = age_nets(stages.Stage(config, of, workdir))
    about = {'stage': of, 'row': row, 'figures': quoted, 'nets': nets}
    rows.append(about | read[of])
  return {
    'run': _name(workdir),
    'paper': section.paper,
    'config': config.name,
    'data': data,
    'random': random_nets(config, read),
    'differs': [
      {'what': what, 'paper': theirs, 'here': here}
      for what, theirs, here in section.differs
    ],
    'rows': rows,
  }


def random_nets(config: Any, names: Sequence[str]) -> list[str]:
  """Return the nets behind some stages that start from random weights."""
  found = []
  for stage in stages.each(config, ''):
    behind = {name for n in names for name in _behind(stage.other(n))}
    section = stage.section
    if stage.name in behind and section.job == 'train':
      files = section.get('pretrained', {})
      starts = section.get('init_from', {}).get('run')
      found += [
        stage.name + f'.{part}' * (len(files) > 1)
        for part, of in files.items()
        if not of.path and not starts
      ]
  return found


def age_nets(stage: stages.Stage) -> list[str]:
  """Name the nets of a stage, or of those that it joins, as the config does.

  Returns:
    such as 'resnet, depth 50, width 0.25, endpoint stage3', each once.
  """
  net = stage.section.get('net', {})
  parts = [part for part in net.values() if hasattr(part, 'keys')] or [net]
  found = [
    ', '.join([part.name, *(f'{k} {part[k]}' for k in SIZES if k in part)])
    for part in parts
    if 'name' in part
  ]
  for name in (*stage.named('members'), *stage.named('features_from')):
    found += age_nets(stage.other(name))
  return list(dict.fromkeys(found))


def published_table(results: Sequence[Mapping[str, Any]]) -> str:
  """Lay out what `beside_paper` returned of several runs, paper by paper."""
  papers: dict[str, list] = {}
  for result in results:
    papers.setdefault(result['paper'], []).append(result)
  parts = []
  for paper, of in papers.items():
    parts.append(f'{paper}\n{"=" * len(paper)}')
    notes: dict[tuple[str, str], str] = {}
    parts += [_run_table(result, notes) for result in of]
    parts += [
      '\n'.join(
        f'({letter}) {films}; {source.removesuffix(".")}.'
        for (films, source), letter in notes.items()
      )
    ] * bool(notes)
    parts += filter(None, map(_differs, of))
  return '\n\n'.join(parts)


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('published', __doc__)
  parser.add_argument('run', nargs='+', metavar='RUN', help='folder of a run')
  parser.add_argument('--out', help='JSON file to write')
  args = parser.parse_args(argv)
  with door.one_line_errors():
    results, others = [], []
    for path in map(storage.absolute, args.run):
      config = run_lib.read_config(path)
      if config.get('report', {}).get('published'):
        results.append(beside_paper(config, path))
      else:
        others.append(_name(path))
    if not results:
      raise ValueError(
        f'Expected a run that quotes a paper, got {", ".join(others)}, which '
        f'quote none. {REMEDY}'
      )
    if args.out:
      storage.write_json(args.out, results, indent=1)
  door.say(published_table(results))
  if others:
    door.say(f'\nThese quote no paper: {", ".join(others)}. {REMEDY}')


def _name(workdir: str) -> str:
  return os.path.basename(os.path.abspath(workdir))


def _held_out(
  workdir: str, stage: str
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Return the figures of a stage by split, and what they are of."""
  path = stages.path(workdir, stage, stages.PREDICTIONS)
  if not storage.exists(path):
    return {}, {}
  run, figures = run_lib.read_run(workdir, stage), {}
  for split in splits_lib.HELD_OUT:
    rows = selection.select_split(run.rows, split)
    if len(rows['id']):
      found = metrics.error_summary(rows['prediction'] - rows['age'])
      figures[split] = {key: found[key] for key in KEYS if key in found}
  return figures, run.data


def _behind(stage: stages.Stage) -> list[str]:
  return [stage.name, *(other.name for other in stage.all_inputs())]


def _run_table(
  result: Mapping[str, Any], notes: dict[tuple[str, str], str]
) -> str:
  """Lay out the rows of one run; films of the paper get letters in `notes`."""
  cells = []
  for row in result['rows']:
    test, other = row.get('test', {}), row.get('validation', {})
    quoted = []
    for figure in row['figures']:
      key = (figure['films'], figure['source'])
      letter = notes.setdefault(key, string.ascii_lowercase[len(notes)])
      quoted.append(f'{figure["mae"]:.2f} ({letter})')
    cells.append(
      [
        row['row'],
        str(test.get('n', '')),
        f'{test["mae"]:.2f}' if test else '',
        text_table.interval(test, 'mae'),
        f'{other["mae"]:.2f}' if other else '',
        ', '.join(quoted),
      ]
    )
  lines = [
    f'{result["run"]}: {lineage.dataset_line(result["data"])}',
    "Mean absolute error in months; ours on test films, the paper's on others:",
    text_table.layout((result['config'], *HEAD), cells),
  ]
  nets = {row['row']: '; '.join(row['nets']) for row in result['rows']}
  shown = [f'  {row}: {words}' for row, words in nets.items() if words]
  lines += ['The nets of the run:', *shown] if shown else []
  waiting = [
    row['stage']
    for row in result['rows']
    if not row.keys() & set(splits_lib.HELD_OUT)
  ]
  if waiting:
    lines.append(f'No predictions yet: {", ".join(dict.fromkeys(waiting))}.')
  return '\n'.join(lines)


def _differs(result: Mapping[str, Any]) -> str:
  """Lay out what a run does otherwise than its paper."""
  lines = []
  if result['differs']:
    head = (f'{result["run"]} differs in', result['paper'], 'here')
    rows = [
      [row['what'], row['paper'], row['here']] for row in result['differs']
    ]
    lines.append(text_table.layout(head, rows))
  elif _quotes(result['config'], result['paper']):
    lines.append(f'configs/{result["config"]}.py says what differs from it.')
  if result['random']:
    lines.append(f'From random weights: {", ".join(result["random"])}.')
  return '\n'.join(lines)


def _quotes(name: str, paper: str) -> bool:
  """Whether the file of a config of ours quotes a paper."""
  path = config_lib.CONFIGS / f'{name}.py'
  return path.is_file() and paper in path.read_text(encoding='utf-8')
