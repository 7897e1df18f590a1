"""Write pages of docs/ from the texts and tables of this folder.

  python -m results.build          writes the pages
  python -m results.build --check  exits with 1 if a page is stale

README.md says what the columns mean. A cell that breaks their rules ends either
command with a line that names its file, row and column.
"""

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
import re
import sys

from results import rows as rows_lib

DOCS = rows_lib.FOLDER.parent / 'docs'
# Text with {{names of tables}}, and the page that it becomes.
PAGES = {
  'page.md': 'results.md',
  'geometry.md': 'explanation/registration.md',
  'hostile.md': 'explanation/hostile_films.md',
  'faults.md': 'explanation/quality_checks.md',
  'forest.md': 'explanation/forest.md',
  'bonet.md': 'explanation/bonet.md',
  'transfer.md': 'explanation/transfer.md',
  'ablation.md': 'explanation/ablation.md',
  'losses.md': 'explanation/losses.md',
  'plain_net.md': 'explanation/plain_net.md',
  'others.md': 'explanation/other_systems.md',
  'active.md': 'explanation/active_segmentation.md',
  'feeding.md': 'explanation/feeding.md',
  'tpus.md': 'explanation/tpus.md',
  'site.md': 'how-to/site.md',
  'sweep.md': 'how-to/sweep.md',
}
# Configs whose answers stand on pages of theirs.
ELSEWHERE = ('registration', 'bonet', 'transfer', 'ablation', 'multi_task')
ELSEWHERE += ('whole_image',)
# Configs whose rows of the leaderboard do.
PARTS = {
  *('ablation', 'transfer', 'larson', 'zhao', 'pan', 'ren', 'li2022', 'lee'),
  *('bonet', 'multi_task'),
}
Table = tuple[str, Iterable[Sequence[str]]]  # head and rows


def page(name: str) -> str:
  """Return a text of this folder with its tables."""
  text = (rows_lib.FOLDER / name).read_text(encoding='utf-8')
  fill = lambda match: table(*TABLES[match[1]](*match[2].split()))
  return re.sub(r'\{\{(\w+)([ \w]*)\}\}', fill, text)


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
  """Lay out a table of Markdown."""
  lines = [head, ' | '.join(['---'] * (head.count('|') + 1))]
  return '\n'.join(f'| {x} |' for x in [*lines, *map(' | '.join, rows)])


def _leaderboard(*names: str) -> Table:
  """Rows of some data sets; where configs are named too, of these alone."""
  data_sets = {row['data_set'] for row in rows_lib.read('leaderboard.csv')} & {
    *names
  }
  rows = [
    r for r in rows_lib.current('leaderboard.csv') if r['data_set'] in data_sets
  ]
  chosen = {*names} - data_sets or {row['config'] for row in rows} - PARTS
  rows = [row for row in rows if row['config'] in chosen]
  rows.sort(key=lambda row: float(row['mae'] or 'inf'))
  head = 'config, stage | weights | n | MAE | RMSE | within 12 | girls, boys '
  return head + '| validation MAE | films/s | minutes', map(_system, rows)


def _system(row: rows_lib.Row) -> Sequence[str]:
  return (
    f'{rows_lib.run(row)} `{row["stage"]}`',
    *(
      row['weights'],
      row['n'],
      rows_lib.interval(row, 'mae', 'lo', 'hi'),
      row['rmse'],
    ),
    row['within12'] and f'{row["within12"]} %',
    ', '.join(filter(None, (row['girls'], row['boys']))),
    rows_lib.interval(row, 'validation_mae', 'validation_lo', 'validation_hi'),
    *(row['films_per_s'], row['minutes']),
  )


def _of(
  rows: Iterable[rows_lib.Row], configs: Sequence[str]
) -> list[rows_lib.Row]:
  """Return test rows of configs; of none, of those without another page."""
  rows = [row for row in rows if row['split'] == 'test']
  if configs:
    return [row for row in rows if row['config'] in configs]
  return [row for row in rows if row['config'] not in ELSEWHERE]


def _comparisons(*names: str) -> Table:
  """Rows of some configs; where data sets are named too, of these alone."""
  rows = rows_lib.current('comparisons.csv')
  data_sets = {row['data_set'] for row in rows} & {*names}
  rows = _of(rows, [name for name in names if name not in data_sets])
  rows = [r for r in rows if not data_sets or r['data_set'] in data_sets]
  ends = ('difference', 'difference_lo', 'difference_hi')
  line = lambda row: (
    f'{rows_lib.run(row)}: {row["a"]} less {row["b"]}: '
    f'**{rows_lib.interval(row, *ends)}**'
  )
  return 'question | difference', [
    (question, '<br>'.join(map(line, group)))
    for (question,), group in rows_lib.grouped(rows, 'question')
  ]


def _ablations(*configs: str) -> Table:
  rows = _of(rows_lib.read('ablations.csv'), configs)
  kinds = ('mae', 'accuracy_films')
  rows = [r for r in rows if r['value'] and r['metric'] in kinds]
  rows.sort(key=lambda row: float(row['value']))
  line = lambda row: (
    f'{row["setting"]}: **{rows_lib.interval(row, "value", "lo", "hi")}**'
  )
  return 'question | config | settings', [
    (question, rows_lib.run(group[0]), '<br>'.join(map(line, group)))
    for (question, *_), group in rows_lib.grouped(
      rows, 'question', 'config', 'preset'
    )
    if len({row['setting'] for row in group}) > 2
  ]


def _robustness() -> Table:
  out = []
  for run in rows_lib.read('robustness.csv'):
    rows = rows_lib.read(f'robustness/{run["file"]}')
    rises = [float(row['change']) for row in rows if row['name'] != 'inverted']
    within = f'{sum(rise <= 1 for rise in rises)} of {len(rises)}'
    out.append((f'{rows_lib.run(run)} `{run["stage"]}`', run['mae'], within))
  return 'config, stage | MAE as they are | within a month', out


def _segmentation() -> Table:
  line = lambda row: (
    *(f'{rows_lib.run(row)} `{row["stage"]}`', row['setting'], row['data_set']),
    *(
      f'{row["n"]} {row["split"]}',
      rows_lib.interval(row, 'dice', 'dice_lo', 'dice_hi'),
    ),
    rows_lib.interval(row, 'jaccard', 'jaccard_lo', 'jaccard_hi'),
  )
  head = 'config, stage | setting | data | films | Dice | Jaccard'
  return head, map(line, rows_lib.current('segmentation.csv'))


def _landmarks() -> Table:
  line = lambda row: (
    *(f'{rows_lib.run(row)} `{row["stage"]}`', row['setting'], row['data_set']),
    *(f'{row["n"]} {row["split"]}', row['measure'].replace('_', ' ')),
    rows_lib.interval(row, 'value', 'lo', 'hi'),
  )
  head = 'config, stage | setting | data | films | measure | value'
  return head, map(line, rows_lib.current('landmarks.csv'))


def _region_ages() -> Table:
  """Nets of one sex on its test films, all of them and those in puberty."""
  rows = [
    r for r in rows_lib.current('region_ages.csv') if r['split'] == 'test'
  ]
  rows = [r for r in rows if r['nets'] == r['films']]
  cell = lambda group, part: next(
    f'{rows_lib.interval(row, "mae", "lo", "hi")}; {row["n"]} films'
    for row in group
    if row['part'] == part
  )
  return 'data | films | region | all ages | in puberty', [
    (*name, cell(group, 'all ages'), cell(group, 'in puberty'))
    for name, group in rows_lib.grouped(rows, 'data_set', 'films', 'region')
  ]


def _fuzzing() -> Table:
  columns = ('kind', 'minutes', 'n', 'read', 'refused', 'workers_ended')
  columns += ('broken', 'worst_seconds', 'worst_megabytes')
  head = ' | '.join(columns).replace('_', ' ').replace(' n ', ' inputs ')
  return head, [
    [row[k] for k in columns] for row in rows_lib.read('fuzzing.csv')
  ]


def _quality_checks(data_set: str) -> Table:
  percent = lambda row, *names: (row[n] and f'{row[n]} %' for n in names)
  return 'films | n | refused | to be checked | found', [
    (
      *(row['kind'].replace('_', ' '), row['n']),
      *percent(row, 'refused', 'checked'),
      rows_lib.interval(row, 'found', 'found_lo', 'found_hi'),
    )
    for row in rows_lib.read('quality_checks.csv')
    if row['data_set'] == data_set
  ]


def _forest(data_set: str) -> Table:
  of = lambda group, name: next(
    rows_lib.interval(row, 'value', 'lo', 'hi')
    for row in group
    if row['measure'] == name
  )
  names = ('mean_error_percent', 'median_error_percent', 'beyond_10_percent')
  head = 'landmarks | weights of votes | passes | mean | median | beyond 10 %'
  rows = [
    row for row in rows_lib.read('forest.csv') if row['data_set'] == data_set
  ]
  groups = rows_lib.grouped(rows, 'landmarks', 'weighting', 'passes')
  return head, [
    (*name, *(of(group, measure) for measure in names))
    for name, group in groups
  ]


def _plain(name: str, *columns: str) -> Table:
  """These columns of a table, in words, with the intervals that they have."""
  ends = {value: (low, high) for value, low, high in rows_lib.INTERVALS}
  of = lambda row, column: (
    rows_lib.interval(row, column, *ends[column])
    if column in ends
    else row[column]
  )
  return ' | '.join(columns).replace('_', ' '), [
    [of(row, column) for column in columns]
    for row in rows_lib.read(f'{name}.csv')
  ]


def _settings(config: str, data_set: str) -> Table:
  """The ablations of a config on some films, a row for each."""
  line = lambda row: (
    row['setting'],
    rows_lib.interval(row, 'value', 'lo', 'hi'),
    *(row['validation_value'], row['films_per_s']),
    rows_lib.interval(row, 'difference', 'difference_lo', 'difference_hi'),
  )
  rows = _of(rows_lib.read('ablations.csv'), [config])
  rows = [row for row in rows if row['data_set'] == data_set]
  head = 'setting | MAE | validation MAE | films/s | difference'
  return head, map(line, rows)


def _sites() -> Table:
  """How many of 200 sites got a correction."""
  rows = [
    r for r in rows_lib.read('quality.csv') if r['measure'] == 'refused_of_200'
  ]
  return 'films | their errors | corrected, of 200 sites', [
    (row['data_set'], row['condition'], str(200 - int(row['value'])))
    for row in rows
  ]


def _killed() -> Table:
  head = 'job | kills | a checkpoint is | files compared | same'
  return head, [
    (row['job'], row['kills'], row['checkpoint'] or 'left', row['files'], same)
    for row in rows_lib.read('killed_runs.csv')
    for same in ['yes' if row['same'] == '1' else f'no: {row["differ"]}']
  ]


def _speed() -> Table:
  rows = [
    r for r in rows_lib.read('speed.csv') if r['ratio'] and r['peer_value']
  ]
  line = lambda row: f'{row["subject"]}: {row["peer"]} **{row["ratio"]}**'
  return 'benchmark | ratio', [
    (', '.join(filter(None, name)), '<br>'.join(map(line, group)))
    for name, group in rows_lib.grouped(rows, 'benchmark', 'setting', 'measure')
  ]


TABLES = dict(
  leaderboard=_leaderboard, comparisons=_comparisons, ablations=_ablations,
  robustness=_robustness, speed=_speed, segmentation=_segmentation,
  landmarks=_landmarks, region_ages=_region_ages, fuzzing=_fuzzing,
  killed=_killed, plain=_plain, quality_checks=_quality_checks,
  forest=_forest, settings=_settings, sites=_sites,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = argparse.ArgumentParser(description='Write pages of docs/.')
  parser.add_argument('--check', action='store_true', help='only compare')
  check = parser.parse_args(argv).check
  try:
    for path in sorted(
      rows_lib.FOLDER.rglob('*.csv')
    ):  # also those of no table
      rows_lib.read(path.relative_to(rows_lib.FOLDER).as_posix())
    pages = {DOCS / path: page(name) for name, path in PAGES.items()}
  except ValueError as error:
    sys.exit(f'Error: {error}')
  for path, text in pages.items():
    if not check:
      path.write_text(text, encoding='utf-8')
    elif not path.exists() or text != path.read_text(encoding='utf-8'):
      name = path.relative_to(DOCS.parent).as_posix()
      sys.exit(f'Error: {name} is stale; run python -m results.build.')


if __name__ == '__main__':
  main()
