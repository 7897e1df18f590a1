"""The report as one self-contained HTML page.

The pages of `templates/` say how it looks; this module prepares the words and
numbers that they show.
"""

import base64
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import functools
import pathlib
from typing import Any
from typing import NamedTuple

import jinja2

from boneage_jax.data import groups as groups_lib
from boneage_jax.evaluation import extra as extra_lib
from boneage_jax.evaluation import metrics
from boneage_jax.imaging import overlay
from boneage_jax.report import charts

TEMPLATES = pathlib.Path(__file__).with_name('templates')
ALT = {
  'scatter': 'Scatter plot of predicted against true bone age by sex.',
  'bland_altman': 'Bland-Altman plot: error against the mean of true and '
  'predicted age, with bias and limits of agreement.',
  'error_by_age': 'Absolute error of each film and mean absolute error by '
  'age band with 95 % intervals.',
  'cumulative': 'Share of films whose error is at most a number of months, '
  'by sex.',
}
COVERAGE = {
  'n': 'films with annotated boxes',
  'found': 'of these, found',
  'centre_in_wrist': 'centre inside the wrist box',
  'centre_near_wrist': 'centre in or near the wrist box',
  'centre_distance': 'centre distance (long sides)',
  'iou_wrist': 'IoU with the wrist box',
  'covers_dip': 'DIP joints covered',
  'covers_pip': 'PIP joints covered',
  'covers_mcp': 'MCP joints covered',
}
COLUMNS = (
  *('films', 'MAE', '95 % interval', 'median', 'RMSE', 'bias'),
  *(f'within {months}' for months in metrics.WITHIN),
)


class Table(NamedTuple):
  """A table of the page; the first cell of a row names it."""

  title: str
  columns: Sequence[str]
  rows: Sequence[Sequence[str]]


@functools.cache
def environment() -> jinja2.Environment:
  """Return Jinja with our templates; it escapes whatever they are given."""
  made = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  made.filters['data_uri'] = _data_uri
  return made


def render(
  report: Mapping[str, Any],
  pictures: Mapping[str, Mapping[str, bytes]],
  films: Sequence[Mapping[str, Any]],
  hands: Mapping[str, Any],
  produced: Mapping[str, str],
  settings: str,
) -> str:
  """Return the page.

  Args:
    report: content of report.json.
    pictures: plot name -> {'light': PNG, 'dark': PNG}.
    films: of the gallery: id, kind, sex, age, prediction, probability,
      regions, pictures (what it is, JPEG), notes, and low and high where there
      are intervals.
    hands: of `hands_page.sections`.
    produced: what to say about the run itself, as {'command': ...}.
    settings: its config as JSON.
  """
  head = report['headline']
  row = report['splits'][head]
  return (
    environment()
    .get_template('report.html')
    .render(
      stage=report['stage'],
      head=head,
      chips=_chips(report['data']),
      alarms=report['alarms'],
      cards=_cards(head, row),
      plots=[(alt, pictures[name]) for name, alt in ALT.items()],
      legend=_legend(films),
      gallery=_gallery(films),
      hands=hands,
      by_split=Table(
        'By split',
        ['split', *COLUMNS],
        [_errors(name, part) for name, part in report['splits'].items()],
      ),
      covered=f'{100 * row["covered_90"]:.1f}' if 'covered_90' in row else '',
      by_group=_by_group(head, row),
      references=_references(report),
      regions=_regions(report['regions']),
      extra=_extra(report.get('extra', {})),
      training={k: v for k, v in pictures.items() if k not in ALT},
      produced=_produced(report, produced),
      settings=settings,
    )
  )


def _data_uri(data: bytes, kind: str) -> str:
  return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def _minus(number: str) -> str:
  return number.replace('-', '\N{MINUS SIGN}')


def _interval(row: Mapping[str, Any], key: str, scale: float = 1) -> str:
  if f'{key}_ci95' not in row:
    return ''
  low, high = (scale * v for v in row[f'{key}_ci95'])
  digits = 0 if scale == 100 else 2
  return _minus(f'{low:.{digits}f} to {high:.{digits}f}')


def _chips(data: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Return class and text of what is said of the data on top of the page."""
  chips = []
  subset = data.get('subset', False)
  if 'name' in data:
    chips.append(('warn' if subset else '', data['name']))
  if subset and 'subset' not in data.get('name', ''):
    chips.append(('warn', f'subset: {data["films"]} of {data["of"]} films'))
  for name, labels in data.get('label_files', {}).items():
    chips.append(('', f'labels ({name}) sha256 {labels["sha256"][:12]}'))
  if 'unreadable' in data:
    chips.append(('warn', f'unreadable films: {len(data["unreadable"])}'))
  if 'split' in data:
    chips.append(('', data['split']))
  return chips


def _cards(head: str, row: Mapping[str, Any]) -> list[dict[str, str]]:
  """Return the four figures of the headline."""

  def note(key: str, scale: float = 1) -> str:
    interval = _interval(row, key, scale)
    return interval and f'95 % interval {interval}'

  within = f'{100 * row["within_12"]:.0f}'
  cards = [
    (f'{head} MAE', f'{row["mae"]:.2f}', 'months', note('mae')),
    ('films', str(row['n']), '', f'in the {head} split'),
    ('within 12 months', within, '%', note('within_12', 100)),
    ('bias', _minus(f'{row["bias"]:+.2f}'), 'months', note('bias')),
  ]
  keys = ('label', 'value', 'unit', 'note')
  return [dict(zip(keys, card, strict=True)) for card in cards]


def _legend(films: Sequence[Mapping[str, Any]]) -> list[tuple[str, tuple]]:
  names = dict.fromkeys(name for film in films for name in film['regions'])
  return [(name, overlay.COLOURS[k % 3]) for k, name in enumerate(names)]


def _gallery(
  films: Sequence[Mapping[str, Any]],
) -> dict[str, list[dict[str, Any]]]:
  """Return what the cards of films show, by kind."""
  cards: dict[str, list] = {}
  for film in films:
    cards.setdefault(film['kind'], []).append(_film(film))
  return cards


def _film(film: Mapping[str, Any]) -> dict[str, Any]:
  age, prediction = float(film['age']), float(film['prediction'])
  interval = (film['low'], film['high']) if 'low' in film else None
  return {
    'id': film['id'],
    'sex': groups_lib.SINGULAR[str(groups_lib.sex_text(film['sex']))],
    'pictures': film['pictures'],
    'notes': film['notes'],
    'chart': charts.distribution(
      film['probability'], age, prediction, interval
    ),
    'error': _minus(f'{prediction - age:+.1f}'),
    'true': charts.years(age),
    'predicted': charts.years(prediction),
    'missing': [name for name, r in film['regions'].items() if not r.found],
  }


def _errors(name: str, row: Mapping[str, Any]) -> list[str]:
  return [
    name,
    str(row['n']),
    f'{row["mae"]:.2f}',
    _interval(row, 'mae'),
    f'{row["median"]:.2f}',
    f'{row["rmse"]:.2f}',
    _minus(f'{row["bias"]:+.2f}'),
    *(f'{100 * row[f"within_{m}"]:.0f} %' for m in metrics.WITHIN),
  ]


def _by_group(head: str, row: Mapping[str, Any]) -> list[Table]:
  groups = {
    'by_sex': ('By sex', 'sex', groups_lib.PLURAL),
    'by_age': ('By age', 'months', {}),
    'by_stage': ('By developmental stage', 'stage', {}),
  }
  return [
    Table(
      f'{title}, {head}',
      [first, *COLUMNS],
      [_errors(names.get(n, n), part) for n, part in row[key].items()],
    )
    for key, (title, first, names) in groups.items()
  ]


def _references(report: Mapping[str, Any]) -> Table:
  columns = ['predictor', 'films', 'its MAE', '95 % interval']
  columns += [f'{report["stage"]} minus it', '95 % interval']
  rows = [
    [
      f'{name}, {split}'.replace('_', ' '),
      str(row['n']),
      f'{row["mae"]:.2f}',
      _interval(row, 'mae'),
      _minus(f'{row["difference"]:+.2f}'),
      _interval(row, 'difference'),
    ]
    for name, reference in report['references'].items()
    for split, row in reference.items()
  ]
  return Table('Against other predictors', columns, rows)


def _regions(regions: Mapping[str, Any]) -> list[Table]:
  if not regions:
    return []
  found = regions['found']
  rows = [
    ['films', *(str(r['films']) for r in found.values())],
    ['found on', *(str(r['found']) for r in found.values())],
  ]
  tables = [Table('Regions, films reported', ['', *found], rows)]
  for split, covered in regions['coverage'].items():
    parts = [covered.get(name, {}) for name in found]
    rows = list(_coverage(parts))
    if rows:
      title = f'Regions against annotated boxes, {split}'
      tables.append(Table(title, ['', *found], rows))
  return tables


def _extra(found: extra_lib.Figures) -> list[Table]:
  """Return the tables of what the net tells beside the age, if any."""
  tables = [extra_lib.sex_table(found), extra_lib.table(found)]
  return [Table('Beside the age', *one) for one in tables if one[1]]


def _coverage(parts: Sequence[Mapping[str, Any]]) -> Iterable[list[str]]:
  """Yield a row for each figure that a region has."""
  for key in dict.fromkeys(key for part in parts for key in part):
    cells = (_share(key, part.get(key)) for part in parts)
    yield [COVERAGE.get(key, key), *cells]


def _share(key: str, value: Any) -> str:
  if not isinstance(value, float):
    return '' if value is None else str(value)
  if key in ('centre_distance', 'iou_wrist'):
    return f'{value:.3f}'
  return f'{100 * value:.0f} %'


def _produced(
  report: Mapping[str, Any], produced: Mapping[str, str]
) -> dict[str, str]:
  rows = {'stage reported': report['stage'], **produced}
  data = report['data']
  names = {'name': 'data set', 'split': 'split'}
  rows |= {names[k]: v for k, v in data.items() if k in names}
  for name, labels in data.get('label_files', {}).items():
    rows[f'labels ({name})'] = f'{labels["file"]}, sha256 {labels["sha256"]}'
  return rows
