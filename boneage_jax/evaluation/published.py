"""What runs reached, beside what a paper says of the same systems."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import text_table

HEAD = ('row', 'films', 'MAE', '95 % interval', 'validation', 'paper v1', 'v2')


def published_rows(
  report: Mapping[str, Any], section: Any
) -> list[dict[str, Any]]:
  """Gather the rows of a paper's table.

  Args:
    report: of write.write_report.
    section: the report's of the config; its `published` has (stage, name, MAE
      of the first version, MAE of the second or None) for each row, months.

  Returns:
    stage, row, paper_v1, paper_v2, and split -> `n`, `mae`, `mae_ci95`.
  """
  out = []
  for stage, name, first, second in section.published:
    row = {'stage': stage, 'row': name, 'paper_v1': first, 'paper_v2': second}
    if stage == report['stage']:
      splits = report['splits']
    else:
      splits = report['references'][stage]
    for split in splits_lib.SPLITS[::-1]:
      if split in splits:
        keys = ('n', 'mae', 'mae_ci95')
        row[split] = {k: splits[split][k] for k in keys if k in splits[split]}
    out.append(row)
  return out


def published_table(gathered: Sequence[Mapping[str, Any]]) -> str:
  """Lay out `rows`; the paper's figures are of other films than ours."""
  cells = []
  for row in gathered:
    test, other = row.get('test', {}), row.get('validation', {})
    cells.append(
      [
        row['row'],
        str(test.get('n', '')),
        f'{test["mae"]:.2f}' if test else '',
        text_table.interval(test, 'mae'),
        f'{other["mae"]:.2f}' if other else '',
        f'{row["paper_v1"]:.1f}',
        f'{row["paper_v2"]:.1f}' if row['paper_v2'] else '',
      ]
    )
  return (
    "\nMean absolute error in months: ours, and the paper's on 500 films "
    'held out of 12,611 training films.\n'
  ) + text_table.layout(HEAD, cells)


def cited_table(report: Mapping[str, Any], section: Any) -> str:
  """Lay out the errors of a run beside figures that papers quote.

  Args:
    report: of write.write_report.
    section: the report's of the config; its `cited` has (MAE in months, its
      films, who says so) for each figure.
  """
  cells = []
  for split in splits_lib.HELD_OUT:
    row = report['splits'].get(split)
    if row:
      cells.append([f'{row["mae"]:.2f}', f'{row["n"]} {split} films', 'ours'])
  cells += [
    [f'{mae:.2f}', films, source] for mae, films, source in section.cited
  ]
  head = '\nMean absolute error in months; other films, other figures.\n'
  return head + text_table.layout(('MAE', 'films', 'source'), cells)
