"""The report of a run: figures as JSON, one page to look at, a table.

`write_report` reads what the stages left in their folders and writes
`workdir/report/`: report.html, report.json, predictions.csv and PNG plots.
Identical input gives identical files. Ages are months.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import io
import json
from typing import Any

import numpy as np

from boneage_jax.core import ids
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import groups
from boneage_jax.data import selection
from boneage_jax.evaluation import error_plots
from boneage_jax.evaluation import extra as extra_lib
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import text_table
from boneage_jax.imaging import age_maps
from boneage_jax.imaging import overlay
from boneage_jax.inference import tables as prediction_tables
from boneage_jax.report import figures
from boneage_jax.report import hands as hands_lib
from boneage_jax.report import hands_page
from boneage_jax.report import page
from boneage_jax.report import plots
from boneage_jax.runs import age_map_file
from boneage_jax.runs import lineage
from boneage_jax.runs import predictions

PER_KIND = 3  # films each of best, median and worst
HEAD = ('films', 'MAE', '95 % interval', 'RMSE', 'bias', text_table.WITHIN[1])


@dataclasses.dataclass(frozen=True)
class ReportInputs:
  """What a report is made of, apart from the files of its stage.

  Attributes:
    workdir: folder of the run.
    stage: the train stage whose predictions are reported.
    config: of the system (ConfigDict or dict), shown on the page.
    regions: film id -> region -> boxes.Region; empty where none are found.
    coverage: of the regions, by split; content of coverage.json.
    heat: maps of the localizer, see `located.read_located`.
    data: of `lineage.data_set`.
    references: name -> {film id: age, months}, other predictors to compare
      with.
    load_film: film id -> uint8 [H, W], for the gallery; None shows no film.
    produced: what to say about the run itself, as {'command': ...}.
    hands: of a run that registers films.
    region_ages: of `regions.region_ages`, where stages read one region each.
    age_maps: of a net that gives ages at places of films.
  """

  workdir: str
  stage: str
  config: Any
  regions: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
  coverage: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  heat: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  references: Mapping[str, Mapping[str, float]] = dataclasses.field(
    default_factory=dict
  )
  load_film: Callable[[str], np.ndarray] | None = None
  produced: Mapping[str, str] = dataclasses.field(default_factory=dict)
  hands: hands_lib.Hands | None = None
  region_ages: Mapping[str, Any] | None = None
  age_maps: age_map_file.AgeMaps | None = None


def write_report(inputs: ReportInputs) -> dict[str, Any]:
  """Write the report of a stage to `workdir/report` and return its figures.

  Returns:
    The content of report.json: stage, headline (the split shown first), splits,
    references, regions, data and alarms.

  Raises:
    ValueError: no predictions, a film twice, ages that are not finite.
  """
  rows = predictions.read_predictions(
    stages.path(inputs.workdir, inputs.stage, stages.PREDICTIONS)
  )
  rows |= figures.validation_intervals(rows)
  folder = stages.path(inputs.workdir, inputs.stage)
  extra = predictions.read_extra(folder, rows['id'])
  report = _figures(inputs, rows, extra)
  pictures = _plots(inputs, report, rows)
  shown = selection.select_split(rows, report['headline'])
  settings = getattr(inputs.config, 'to_dict', lambda: inputs.config)()
  html = page.render(
    report,
    pictures,
    _films(inputs, shown),
    hands_page.sections(
      *(inputs.hands, inputs.region_ages, shown['id'].tolist()),
      inputs.load_film,
    ),
    inputs.produced,
    json.dumps(settings, indent=2, default=str),
  )
  text = json.dumps(report, indent=1, allow_nan=False) + '\n'
  files = {f'{name}.png': both['light'] for name, both in pictures.items()}
  files[stages.PREDICTIONS] = _csv(rows, inputs.regions, extra).encode()
  files[stages.REPORT_JSON] = text.encode()
  files['report.html'] = html.encode()
  storage.make_folder(stages.report_path(inputs.workdir))
  for name, content in files.items():
    with storage.replacing(
      stages.report_path(inputs.workdir, name), 'wb'
    ) as file:
      file.write(content)
  page_path = stages.report_path(inputs.workdir, 'report.html')
  print(f'Report: {page_path}')
  return report


def report_table(report: Mapping[str, Any]) -> str:
  """Lay out the figures of splits and references for a terminal."""
  rows = []
  for name, row in report['splits'].items():
    rows.append([name, *text_table.errors(row, HEAD)])
    for sex, part in row['by_sex'].items():
      rows.append([f'  {groups.PLURAL[sex]}', *text_table.errors(part, HEAD)])
  for name, reference in report['references'].items():
    for split, row in reference.items():
      title = f'{name}, {split}'.replace('_', ' ')
      rows.append([title, *text_table.errors(row, HEAD)])
  lines = [
    lineage.dataset_line(report['data']),
    text_table.layout(('', *HEAD), rows),
    *extra_lib.lines(report.get('extra', {})),
    *(f'ALARM: {alarm}' for alarm in report['alarms']),
  ]
  return '\n'.join(lines)


def _figures(
  inputs: ReportInputs,
  rows: Mapping[str, np.ndarray],
  extra: Mapping[str, np.ndarray],
) -> dict[str, Any]:
  """Return the content of report.json."""
  report = {
    'stage': inputs.stage,
    **figures.split_summaries(rows, inputs.references),
    'regions': figures.count_regions(rows, inputs.regions, inputs.coverage),
    'data': inputs.data,
  }
  if extra:
    report['extra'] = extra_lib.figures(extra, rows['sex'], rows['split'])
  alarms = figures.alarms(report)
  if inputs.hands:
    report['registration'] = inputs.hands.counts
    alarms += hands_lib.alarms(inputs.hands, report['headline'])
  if inputs.region_ages:
    report['region_ages'] = inputs.region_ages
  return report | {'alarms': alarms}


def _plots(
  inputs: ReportInputs,
  report: Mapping[str, Any],
  rows: Mapping[str, np.ndarray],
) -> dict[str, dict[str, bytes]]:
  """Draw every plot for light and for dark pages."""
  rows = selection.select_split(rows, report['headline'])
  summary = report['splits'][report['headline']]
  columns = (rows['age'], rows['prediction'], rows['sex'])
  draws = error_plots.of_films(*columns, summary['by_age'])
  curves = figures.curves(inputs.workdir, inputs.config.get('stages', ()))
  for name, points in curves.items():
    draws[f'training_{name}'] = plots.training(name, points)
  return {
    name: {
      'light': plot_style.png(draw),
      'dark': plot_style.png(draw, dark=True),
    }
    for name, draw in draws.items()
  }


def _films(
  inputs: ReportInputs, rows: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
  """Return the films of the gallery, see `page.render`."""
  distributions = predictions.read_distributions(
    stages.path(inputs.workdir, inputs.stage, stages.DISTRIBUTIONS)
  )
  films = []
  for kind, k in _picks(rows):
    film = {key: column[k] for key, column in rows.items()}
    i = str(film['id'])
    film |= {
      'kind': kind,
      'probability': distributions.get(i),
      'regions': inputs.regions.get(i, {}),
      'pictures': _film_pictures(inputs, i),
      'notes': _film_notes(inputs, i),
    }
    films.append(film)
  return films


def _picks(rows: Mapping[str, np.ndarray]) -> list[tuple[str, int]]:
  """Choose the best, median and worst films as (kind, row); each once."""
  film, error = rows['id'].tolist(), np.abs(rows['prediction'] - rows['age'])
  order = sorted(
    range(len(film)), key=lambda k: (error[k], ids.sort_key(film[k]))
  )
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
  inputs: ReportInputs, film_id: str
) -> list[tuple[str, bytes]]:
  """Draw a film with its regions, and with its maps; each with what it is."""
  if inputs.load_film is None:
    return []
  film, regions = inputs.load_film(film_id), inputs.regions.get(film_id, {})
  if inputs.hands:
    picture = inputs.hands.picture(film_id, film)
  else:
    picture = overlay.overlay(film, None, regions)
  drawn = [('with the regions found', picture)]
  maps = inputs.heat.get('maps', {})
  if film_id in maps and not inputs.hands:
    resize = inputs.heat['resize']
    heat = overlay.film_heat(maps[film_id], film.shape, resize)
    picture = overlay.overlay(film, heat, regions)
    drawn.append(('with the heat map of the localizer', picture))
  found = inputs.age_maps
  if found and film_id in found.ages:
    matrix = found.deformation.get(film_id)
    picture = age_maps.picture(film, found.places, found.ages[film_id], matrix)
    drawn.append(('with the map of ages', picture))
  return [(said, overlay.jpeg(picture)) for said, picture in drawn]


def _film_notes(inputs: ReportInputs, film_id: str) -> list[str]:
  """Say what a map of ages and a deformation layer did with a film."""
  found, notes = inputs.age_maps, []
  if found and film_id in found.ages:
    notes.append(
      f'map of ages: {prediction_tables.map_text(found.ages[film_id])}'
    )
  if found and film_id in found.deformation:
    pose = age_maps.pose(found.deformation[film_id], found.places)
    notes.append(f'deformation: {prediction_tables.pose_text(pose)}')
  return notes


def _csv(
  rows: Mapping[str, np.ndarray],
  regions: Mapping,
  extra: Mapping[str, np.ndarray],
) -> str:
  """Lay out one row per film."""
  file = io.StringIO()
  writer = tables.Writer(file)
  writer.writerow([*predictions.FILE_COLUMNS, 'regions_found', *extra])
  sexes = groups.sex_text(rows['sex'])
  for k, film_id in enumerate(rows['id'].tolist()):
    ages = [f'{rows[n][k]:.2f}' for n in ('age', 'prediction')]
    ages += [f'{rows[n][k]:.2f}' if n in rows else '' for n in ('low', 'high')]
    found = sum(r.found for r in regions.get(film_id, {}).values())
    writer.writerow(
      [
        *(film_id, rows['split'][k], sexes[k], *ages),
        *('', '', found if regions else ''),  # status, quality_flags
        *(f'{values[k]:.6f}' for values in extra.values()),
      ]
    )
  return file.getvalue()
