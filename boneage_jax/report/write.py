"""The report of a run: figures as JSON, one page to look at, a table.

`write` reads what the stages left in their folders and writes
`workdir/report/`: report.html, report.json, predictions.csv and PNG plots.
Identical input gives identical files. Ages are months.
"""

from collections.abc import Callable
from collections.abc import Mapping
import csv
import io
import json
import os
from typing import Any

import numpy as np

from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.data import selection
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import text_table
from boneage_jax.imaging import overlay
from boneage_jax.report import figures as report_figures
from boneage_jax.report import page as report_page
from boneage_jax.report import plots
from boneage_jax.runs import lineage
from boneage_jax.runs import predictions

PER_KIND = 3  # films each of best, median and worst


def write_report(
  workdir: str,
  stage: str,
  config: Any,
  located: tuple[Mapping, Mapping, Mapping] = ({}, {}, {}),
  log: Callable[[str], None] = print,
  *,
  data_folder: str | None = None,
  load_film: Callable[[int], np.ndarray] | None = None,
  references: Mapping[str, Mapping[int, float]] | None = None,
  train_ages: np.ndarray | None = None,
  train_sex: np.ndarray | None = None,
  split: str = '',
  produced: Mapping[str, str] | None = None,
) -> dict[str, Any]:
  """Write the report of `stage` to `workdir/report` and return its figures.

  Args:
    workdir: folder of the run.
    stage: the train stage whose predictions are reported.
    config: the system's config (ConfigDict or dict), shown on the page.
    located: of `located.read_located`, if the system finds regions.
    log: called with one line that says where the report lies.
    data_folder: prepared data set; its build.json names it.
    load_film: film id -> uint8 [H, W], for the gallery.
    references: name -> {film id: predicted age} to compare with.
    train_ages: ages of the training films, for the sex-median predictor, none
      where `references` has it; taken from the training rows of
      predictions.csv when None.
    train_sex: sexes of the training films.
    split: how the films were split, in words.
    produced: what to say about the run itself, as {'command': ...}.

  Returns:
    The content of report.json: stage, headline (the split shown first), splits,
    references, regions, data and alarms.

  Raises:
    ValueError: no predictions, a film twice, ages that are not finite.
  """
  folder = os.path.join(workdir, 'report')
  storage.make_folder(folder)
  rows = predictions.read_predictions(
    os.path.join(workdir, stage, 'predictions.csv')
  )
  rows |= report_figures.intervals(rows)
  regions, coverage, maps = located
  if train_ages is None:
    train = rows['split'] == 'train'
    train_ages, train_sex = rows['age'][train], rows['sex'][train]
  predictors = {name: dict(ages) for name, ages in (references or {}).items()}
  if len(train_ages):
    medians = groups.sex_medians(train_ages, train_sex)
    sexes = groups.sex_text(rows['sex'])
    predictors['sex_median'] = {
      int(i): medians.get(name, medians['unknown'])
      for i, name in zip(rows['id'], sexes, strict=True)
    }
  report = {
    'stage': stage,
    **report_figures.split_summaries(rows, predictors),
    'regions': report_figures.count_regions(rows, regions, coverage),
    'data': lineage.data_set(data_folder, split),
  }
  report['alarms'] = report_figures.alarms(report)

  head = selection.select_split(rows, report['headline'])
  pictures = _plots(
    head,
    report['splits'][report['headline']],
    report_figures.curves(workdir, config.get('stages', ())),
  )
  distributions = predictions.read_npz(
    os.path.join(workdir, stage, 'distributions.npz'), 'probability'
  )
  films = []
  for kind, k in _picks(head):
    film = {key: column[k] for key, column in head.items()}
    i = int(film['id'])
    film |= {'kind': kind, 'probability': distributions.get(i)}
    film |= _film_pictures(load_film, i, regions.get(i, {}), maps)
    films.append(film)
  if hasattr(config, 'to_dict'):
    config = config.to_dict()
  settings = json.dumps(config, indent=2, default=str)
  page = report_page.render(report, pictures, films, produced or {}, settings)

  for name, picture in pictures.items():
    _write(os.path.join(folder, f'{name}.png'), picture['light'])
  _write(os.path.join(folder, 'predictions.csv'), _csv(rows, regions).encode())
  text = json.dumps(report, indent=1, allow_nan=False) + '\n'
  _write(os.path.join(folder, 'report.json'), text.encode())
  _write(os.path.join(folder, 'report.html'), page.encode())
  log(f'Report: {os.path.join(folder, "report.html")}')
  return report


def report_table(report: Mapping[str, Any]) -> str:
  """Lay out the figures of splits and references for a terminal."""
  lines = [
    lineage.dataset_line(report['data']),
    f'{"":24} {"films":>6} {"MAE":>7} {"95 % interval":>16} {"RMSE":>7}'
    f' {"bias":>7} {"<= 12 mo":>9}',
  ]

  def add(name: str, row: Mapping[str, Any]) -> None:
    line = f'{name:24} {row["n"]:6} {row["mae"]:7.2f} '
    line += f'{text_table.interval(row, "mae"):>16}'
    if 'rmse' in row:
      line += f' {row["rmse"]:7.2f} {row["bias"]:+7.2f}'
      line += f' {100 * row["within_12"]:7.1f} %'
    lines.append(line)

  for name, row in report['splits'].items():
    add(name, row)
    for group, part in row['by_sex'].items():
      add(f'  {plot_style.NAMES[group]}', part)
  for name, reference in report['references'].items():
    for part, row in reference.items():
      add(f'{name}, {part}'.replace('_', ' '), row)
  lines += [f'ALARM: {alarm}' for alarm in report['alarms']]
  return '\n'.join(lines)


def _picks(rows: Mapping[str, np.ndarray]) -> list[tuple[str, int]]:
  """Choose the best, median and worst films as (kind, row); each once."""
  order = np.lexsort((rows['id'], np.abs(rows['prediction'] - rows['age'])))
  count = min(PER_KIND, -(-len(order) // 3))
  start = (len(order) - count) // 2
  kinds = {
    'best': order[:count],
    'median': order[start : start + count],
    'worst': order[::-1][:count],
  }
  chosen: dict[int, str] = {}
  for kind in ('worst', 'best', 'median'):  # who takes a film of a tiny split
    for k in kinds[kind]:
      chosen.setdefault(int(k), kind)
  return [
    (kind, int(k))
    for kind in kinds
    for k in kinds[kind]
    if chosen[int(k)] == kind
  ]


def _film_pictures(
  load_film: Callable[[int], np.ndarray] | None,
  film_id: int,
  regions: Mapping[str, Any],
  maps: Mapping[str, Any],
) -> dict[str, Any]:
  """Draw a film twice: its regions, and its heat map with the regions."""
  if load_film is None:
    return {'regions': regions, 'pictures': []}
  film = load_film(film_id)
  pictures = [overlay.overlay(film, None, regions)]
  if film_id in maps.get('maps', {}):
    heat = overlay.film_heat(
      maps['maps'][film_id], film.shape, maps.get('resize', 'squash')
    )
    pictures.append(overlay.overlay(film, heat, regions))
  return {'regions': regions, 'pictures': [overlay.jpeg(p) for p in pictures]}


def _plots(
  rows: Mapping[str, np.ndarray],
  summary: Mapping[str, Any],
  curves: Mapping[str, list],
) -> dict[str, dict[str, bytes]]:
  """Render every plot for light and for dark pages."""
  columns = (rows['age'], rows['prediction'], rows['sex'])
  draws = {
    'scatter': plots.scatter(*columns),
    'bland_altman': plots.bland_altman(*columns),
    'error_by_age': plots.error_by_age(*columns, summary['by_age']),
    'cumulative': plots.cumulative(*columns),
  }
  for name, points in curves.items():
    draws[f'training_{name}'] = plots.training(name, points)
  return {
    name: {
      'light': plot_style.png(draw),
      'dark': plot_style.png(draw, dark=True),
    }
    for name, draw in draws.items()
  }


def _csv(rows: Mapping[str, np.ndarray], regions: Mapping) -> str:
  """Lay out one row per film."""
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow([*predictions.FILE_COLUMNS, 'regions_found'])
  sexes = groups.sex_text(rows['sex'])
  for k, film_id in enumerate(rows['id'].tolist()):
    ages = [f'{rows[n][k]:.2f}' for n in ('age', 'prediction')]
    ages += [f'{rows[n][k]:.2f}' if n in rows else '' for n in ('low', 'high')]
    found = sum(r.found for r in regions.get(film_id, {}).values())
    writer.writerow(
      [
        *(film_id, rows['split'][k], sexes[k], *ages),
        *('', '', found if regions else ''),  # status, quality_flags
      ]
    )
  return file.getvalue()


def _write(path: str, content: bytes) -> None:
  with storage.replacing(path, 'wb') as file:
    file.write(content)
