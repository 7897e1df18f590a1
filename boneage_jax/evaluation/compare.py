"""Compare two runs, or two stages of one run, on the same films.

  python -m boneage_jax.evaluate compare runs/cascade_phantom runs/best

Errors are paired by film. Test and validation films stay apart. Two runs are
refused if their labels differ, or if one was trained on test films of the
other.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import command
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import settings
from boneage_jax.evaluation import text_table
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib

HEAD = (
  'films',
  'MAE A',
  'MAE B',
  'A - B',
  '95 % interval',
  'A better',
  'B better',
)


def compare(a: run_lib.Run, b: run_lib.Run) -> dict[str, Any]:
  """Compare two runs on the films that both have in the same split.

  Returns:
    a, b: {'run', 'data'}; leaks of `leaks`; splits: split ->
    {'n', 'only_a', 'only_b', 'other_split' (films that are in this split of
    `a` and in another of `b`), and where n > 0 the figures of
    `metrics.paired_difference` and by_sex (the same figures)}.

  Raises:
    ValueError: no common film, or a film with other labels in the other run.
  """
  films = run_lib.align_predictions([a, b])
  sex, errors = films['sex'], (films['age'], *films['prediction'])
  splits = {}
  for split in splits_lib.HELD_OUT:
    in_a, in_b = films['split'] == split
    of = in_a & in_b
    row: dict[str, Any] = {
      'only_a': int(np.sum(a.rows['split'] == split) - in_a.sum()),
      'only_b': int(np.sum(b.rows['split'] == split) - in_b.sum()),
      'other_split': int(np.sum(in_a & ~in_b)),
      'n': int(of.sum()),
    }
    if of.any():
      row |= metrics.paired_difference(*(column[of] for column in errors))
      sexes = np.where(of, groups.sex_text(sex), '')
      row['by_sex'] = {
        name: metrics.paired_difference(
          *(column[sexes == name] for column in errors)
        )
        for name in groups.PLURAL
        if name in sexes
      }
    splits[split] = row
  return {
    'a': {'run': a.name, 'data': a.data},
    'b': {'run': b.name, 'data': b.data},
    'leaks': {'a': leak(a, b), 'b': leak(b, a)},
    'splits': splits,
  }


def leak(run: run_lib.Run, other: run_lib.Run) -> int | None:
  """Count test films of `other` that `run` was trained on; None: not known."""
  test = other.rows['id'][other.rows['split'] == 'test']
  seen = run_lib.trained_on(run, test.tolist())
  return None if seen is None else len(seen)


def warnings(result: Mapping[str, Any]) -> list[str]:
  """Say what `compare` found, or could not find, about training films."""
  out = []
  for one, other in (('a', 'b'), ('b', 'a')):
    name, count = result[one]['run'], result['leaks'][one]
    if count:
      out.append(
        f'{name} was trained on {count} test films of {result[other]["run"]}'
      )
    elif count is None:
      out.append(
        f'which films {name} was trained on is not known, so it may have seen '
        f'test films of {result[other]["run"]}'
      )
  return out


def comparison_table(result: Mapping[str, Any]) -> str:
  """Lay out what `compare` returned."""
  parts = [
    '\n'.join(
      f'{key.upper()}  {result[key]["run"]}: '
      f'{lineage.dataset_line(result[key]["data"])}'
      for key in ('a', 'b')
    )
  ]
  for split, row in result['splits'].items():
    line = (
      f'{split}: {row["n"]} films in common; {row["only_a"]} only in A, '
      f'{row["only_b"]} only in B'
    )
    if row['other_split']:
      line += f', {row["other_split"]} in another split of B'
    if row['n']:
      cells = [_cells('all', row)]
      for name, part in row['by_sex'].items():
        cells.append(_cells(f'  {text_table.group(name)}', part))
      line += '\n' + text_table.layout(('', *HEAD), cells)
    parts.append(line)
  parts.append('A - B below 0: A is better. Intervals resample films in pairs.')
  parts += [f'WARNING: {warning}.' for warning in warnings(result)]
  return '\n\n'.join(parts)


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('compare', __doc__)
  parser.add_argument('a', metavar='RUN_A[:stage]')
  parser.add_argument('b', metavar='RUN_B[:stage]')
  parser.add_argument(
    '--stage_a', default='', help="stage of A; default: the report's"
  )
  parser.add_argument('--stage_b', default='', help='the same of B')
  parser.add_argument(
    '--force',
    action='store_true',
    help='compare even if one was trained on test films of the other',
  )
  parser.add_argument('--out', help='JSON file to write')
  args = parser.parse_args(argv)
  with door.one_line_errors():
    runs = (
      run_lib.read_run(args.a, args.stage_a),
      run_lib.read_run(args.b, args.stage_b),
    )
    result = compare(*runs)
    if any(result['leaks'].values()) and not args.force:
      raise ValueError(
        f'{"; ".join(warnings(result))}. Compare runs of one split, or look '
        'at the films that are test films in both with --force.'
      )
  print(comparison_table(result))
  if differ := settings.settings_table(runs):
    print(f'\n{differ}')
  if args.out:
    storage.write_json(args.out, result, indent=1)


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
  return [
    name,
    str(row['n']),
    f'{row["mae_a"]:.2f}',
    f'{row["mae_b"]:.2f}',
    f'{row["difference"]:+.2f}',
    text_table.interval(row, 'difference', '+'),
    f'{100 * row["a_better"]:.1f} %',
    f'{100 * row["b_better"]:.1f} %',
  ]
