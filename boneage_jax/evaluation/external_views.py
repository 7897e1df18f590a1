"""What an external test found: its figures, as text, files and plots."""

from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.evaluation import error_plots
from boneage_jax.evaluation import errors
from boneage_jax.evaluation import external_films
from boneage_jax.evaluation import extra as extra_lib
from boneage_jax.evaluation import interval_coverage
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import text_table
from boneage_jax.inference import views
from boneage_jax.models.heads import age as age_head
from boneage_jax.runs import lineage
from boneage_jax.runs import predictions


def summarise(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
  """Return the figures of rows that have an age.

  Returns:
    `errors` of `metrics.summary`; `groups`, how many patients or hands, 0 where
    nobody says; of a calibrated run `levels` and `intervals`, see
    `interval_coverage.coverage`; and `extra`, of numbers that the nets tell
    beside the age, see `extra.figures`.
  """
  age, prediction, sex, group = views.columns(rows)
  result = {
    'errors': metrics.summary(age, prediction, sex),
    'groups': len({*group.tolist()} - {''}),
  }
  levels = [name[2:] for name in rows[0] if name.startswith('lo')]
  levels = sorted(
    (level for level in levels if all(row[f'lo{level}'] for row in rows)),
    key=int,
  )
  if levels:
    ends = np.array(
      [
        [
          [float(row[f'{end}{level}']) for end in ('lo', 'hi')]
          for level in levels
        ]
        for row in rows
      ]
    )
    result['levels'] = [int(level) for level in levels]
    result['intervals'] = interval_coverage.coverage(age, ends)
  if names := _extra(rows):
    told = {
      name: np.array([float(row[name]) for row in rows]) for name in names
    }
    split = np.full(len(rows), external_films.SPLIT)
    result['extra'] = extra_lib.figures(told, sex, split)
  return result


def _extra(rows: Sequence[Mapping[str, str]]) -> list[str]:
  """Name what heads tell beside the age and all of these rows have."""
  names = [name for name in rows[0] if name in age_head.EXTRA_OUTPUTS]
  return [name for name in names if all(row[name] for row in rows)]


def table(result: Mapping[str, Any], rows: Any) -> str:
  """Lay out what `external` found."""
  columns = views.columns(rows)
  no_groups = np.full(len(rows), '')
  parts = [
    f'{result["run"]} on {lineage.dataset_line(result["data"])}',
    errors.films_table(*columns[:3], no_groups),
  ]
  own = result.get('own')
  if own:
    head = ('', *errors.HEAD)
    both = {f"the run's own {own['split']} films": own['errors']}
    both['these films'] = result['errors']
    cells = [
      [n, *text_table.errors(row, errors.HEAD)] for n, row in both.items()
    ]
    parts.append(text_table.layout(head, cells))
  for k, level in enumerate(result.get('levels', ())):
    found = result['intervals']
    low, high = (100 * end for end in found['ci95'][k])
    covered, width = 100 * found['covered'][k], found['width'][k]
    parts.append(
      f'{level} % intervals hold the age of {covered:.1f} % of films '
      f'({low:.0f} to {high:.0f}); they are {width:.1f} months wide.'
    )
  parts += extra_lib.lines(result.get('extra', {}))
  if 0 < result['groups'] < len(rows):
    parts.append(
      f'{len(rows)} films are of {result["groups"]} groups. The intervals of '
      'errors resample films, so they are too narrow.'
    )
  if result['seen']:
    count = result['data']['of']
    parts.append(
      f"{len(result['seen'])} of {count} films trained or chose the run's nets "
      f'and are left out; {stages.EXTERNAL} names them.'
    )
  if result['refused']:
    parts.append(
      f'{len(result["refused"])} of {len(rows) + len(result["refused"])} films '
      f'were refused and have no age: {", ".join(result["refused"])}.'
    )
  if result['bad']:
    lines = [f'  {film}: {reason}' for film, reason in result['bad']]
    parts.append(
      '\n'.join([f'Films that cannot be read, {len(lines)}:', *lines])
    )
  return '\n\n'.join(parts)


def write(
  out: str, result: Mapping[str, Any], rows: Sequence[Mapping[str, str]]
) -> None:
  """Write predictions.csv, plots and, last, external.json."""
  columns = (*predictions.FILE_COLUMNS, *_extra(rows))
  names = {**{name: name for name in columns}, 'id': 'file'}
  shown = [
    {name: row.get(names[name], '') for name in names}
    | {'split': external_films.SPLIT}
    for row in rows
  ]
  with storage.replacing(os.path.join(out, stages.PREDICTIONS)) as file:
    tables.write_dicts(file, shown, columns)
  columns = views.columns(rows)[:3]
  draws = error_plots.of_films(*columns, result['errors']['by_age'])
  for name, draw in draws.items():
    with storage.replacing(os.path.join(out, f'{name}.png'), 'wb') as file:
      file.write(plot_style.png(draw))
  storage.write_json(os.path.join(out, stages.EXTERNAL), result, indent=1)
