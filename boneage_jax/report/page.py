"""Lay the report out as one self-contained HTML page."""

import base64
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import html
import pathlib
import string
from typing import Any

from boneage_jax.core import statistics
from boneage_jax.data import groups as groups_lib
from boneage_jax.evaluation import plot_style
from boneage_jax.imaging import overlay
from boneage_jax.report import charts

TEMPLATE = pathlib.Path(__file__).with_name('templates') / 'report.html'
ALT = {
  'scatter': 'Scatter plot of predicted against true bone age by sex.',
  'bland_altman': 'Bland-Altman plot: error against the mean of true and '
  'predicted age, with bias and limits of agreement.',
  'error_by_age': 'Absolute error of each film and mean absolute error by '
  'age band with 95 % intervals.',
  'cumulative': 'Share of films whose error is at most a number of months, '
  'by sex.',
}
SEX = {'F': 'girl', 'M': 'boy', 'unknown': 'sex unknown'}
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


def render(
  report: Mapping[str, Any],
  pictures: Mapping[str, Mapping[str, bytes]],
  films: Sequence[Mapping[str, Any]],
  produced: Mapping[str, str],
  settings: str,
) -> str:
  """Return the page.

  Args:
    report: content of report.json.
    pictures: plot name -> {'light': PNG, 'dark': PNG}.
    films: of the gallery: id, kind, sex, age, prediction, probability,
      regions, pictures (JPEG), and low and high where there are intervals.
    produced, settings: what to say about the run, and its config as JSON.
  """
  head = report['headline']
  training = {k: v for k, v in pictures.items() if k not in ALT}
  template = string.Template(TEMPLATE.read_text(encoding='utf-8'))
  return template.substitute(
    stage=_text(report['stage']),
    head=_text(head),
    chips=_chips(report['data']),
    alarms=''.join(
      f'<p class="alarm" role="alert">{_text(a)}</p>' for a in report['alarms']
    ),
    cards=_cards(head, report),
    plots=''.join(_picture(alt, pictures[k]) for k, alt in ALT.items()),
    gallery=_gallery(films),
    tables=_tables(report),
    training=_section(
      'Training',
      ''.join(
        _picture(f'Loss and validation error: {k}.', v)
        for k, v in training.items()
      ),
      'plots',
    ),
    produced=_produced(report, produced),
    settings=_text(settings),
  )


def _text(value: Any) -> str:
  return html.escape(str(value))


def _section(title: str, body: str, kind: str = '') -> str:
  if not body:
    return ''
  return (
    f'<section><h2>{_text(title)}</h2><div class="{kind}">{body}</div>'
    '</section>'
  )


def _data_uri(data: bytes, kind: str) -> str:
  return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def _picture(alt: str, picture: Mapping[str, bytes]) -> str:
  light, dark = (_data_uri(picture[k], 'png') for k in ('light', 'dark'))
  return (
    '<figure class="panel"><picture>'
    f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
    f'<img src="{light}" alt="{_text(alt)}" width="864" height="704">'
    '</picture></figure>'
  )


def _interval(row: Mapping[str, Any], key: str, scale: float = 1) -> str:
  if f'{key}_ci95' not in row:
    return ''
  low, high = (scale * v for v in row[f'{key}_ci95'])
  digits = 0 if scale == 100 else 2
  return _minus(f'{low:.{digits}f} to {high:.{digits}f}')


def _minus(number: str) -> str:
  return number.replace('-', '\N{MINUS SIGN}')


def _chips(data: Mapping[str, Any]) -> str:
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
  return ''.join(
    f'<li class="{kind}">{_text(text)}</li>' for kind, text in chips
  )


def _cards(head: str, report: Mapping[str, Any]) -> str:
  row = report['splits'][head]

  def note(key: str, scale: float = 1) -> str:
    interval = _interval(row, key, scale)
    return interval and f'95 % interval {interval}'

  cards = [
    (f'{head} MAE', f'{row["mae"]:.2f}', 'months', note('mae')),
    ('films', str(row['n']), '', f'in the {head} split'),
    (
      'within 12 months',
      f'{100 * row["within_12"]:.0f}',
      '%',
      note('within_12', 100),
    ),
    ('bias', _minus(f'{row["bias"]:+.2f}'), 'months', note('bias')),
  ]
  return ''.join(
    f'<div class="card"><div class="label">{_text(label)}</div>'
    f'<div class="value">{_text(value)}<small>{_text(unit)}</small></div>'
    f'<div class="note">{_text(below)}</div></div>'
    for label, value, unit, below in cards
  )


def _gallery(films: Sequence[Mapping[str, Any]]) -> str:
  names = list(dict.fromkeys(name for f in films for name in f['regions']))
  legend = ''.join(
    f'<span><i style="background:rgb{overlay.COLOURS[k % 3]}"></i>'
    f'{_text(name)}</span>'
    for k, name in enumerate(names)
  )
  body = ''
  for kind in ('best', 'median', 'worst'):
    cards = ''.join(_film(f) for f in films if f['kind'] == kind)
    if cards:
      body += f'<h3>{kind.capitalize()}</h3><div class="films">{cards}</div>'
  return f'<p class="legend">{legend}</p>{body}'


def _film(film: Mapping[str, Any]) -> str:
  sex = SEX[str(groups_lib.sex_text(film['sex']))]
  age, prediction = float(film['age']), float(film['prediction'])
  missing = [name for name, r in film['regions'].items() if not r.found]
  alts = ('with the regions found', 'with the heat map of the localizer')
  images = ''.join(
    f'<img src="{_data_uri(data, "jpeg")}" alt="Film {film["id"]} {alt}.">'
    for data, alt in zip(film['pictures'], alts, strict=False)
  )
  interval = (film['low'], film['high']) if 'low' in film else None
  chart = charts.distribution(film['probability'], age, prediction, interval)
  note = (
    f'<p class="miss">not found: {", ".join(missing)}</p>' if missing else ''
  )
  return (
    f'<figure class="panel film"><div class="pair">{images}</div>{chart}'
    f'<figcaption><b>{_minus(f"{prediction - age:+.1f}")} months</b>'
    f'<span>film {film["id"]}, {sex}</span><br>true {charts.years(age)}, '
    f'predicted {charts.years(prediction)}</figcaption>{note}</figure>'
  )


def _table(
  title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
  head = ''.join(f'<th scope="col">{_text(c)}</th>' for c in columns)
  body = ''.join(
    f'<tr><th scope="row">{_text(row[0])}</th>'
    + ''.join(f'<td>{_text(cell)}</td>' for cell in row[1:])
    + '</tr>'
    for row in rows
  )
  return (
    f'<h3>{_text(title)}</h3><div class="scroll"><table><thead><tr>{head}</tr>'
    f'</thead><tbody>{body}</tbody></table></div>'
  )


def _errors(name: str, row: Mapping[str, Any]) -> list[str]:
  return [
    name,
    str(row['n']),
    f'{row["mae"]:.2f}',
    _interval(row, 'mae'),
    f'{row["median"]:.2f}',
    f'{row["rmse"]:.2f}',
    _minus(f'{row["bias"]:+.2f}'),
    *(f'{100 * row[f"within_{m}"]:.0f} %' for m in statistics.WITHIN),
  ]


def _tables(report: Mapping[str, Any]) -> str:
  columns = ['films', 'MAE', '95 % interval', 'median', 'RMSE', 'bias']
  columns += [f'within {m}' for m in statistics.WITHIN]
  head = report['headline']
  row = report['splits'][head]
  body = _table(
    'By split',
    ['split', *columns],
    (_errors(name, r) for name, r in report['splits'].items()),
  )
  if 'covered_90' in row:
    body += (
      '<p class="lead">90 % intervals, fitted on the validation films, hold '
      f'the true age of {100 * row["covered_90"]:.1f} % of the test films.</p>'
    )
  groups = {
    'by_sex': ('By sex', 'sex', plot_style.NAMES),
    'by_age': ('By age', 'months', {}),
    'by_stage': ('By developmental stage', 'stage', {}),
  }
  for key, (title, first, names) in groups.items():
    rows = (_errors(names.get(n, n), r) for n, r in row[key].items())
    body += _table(f'{title}, {head}', [first, *columns], rows)
  return body + _references(report) + _regions(report['regions'])


def _references(report: Mapping[str, Any]) -> str:
  rows = []
  for name, reference in report['references'].items():
    for split, row in reference.items():
      rows.append(
        [
          f'{name}, {split}'.replace('_', ' '),
          str(row['n']),
          f'{row["mae"]:.2f}',
          _interval(row, 'mae'),
          _minus(f'{row["difference"]:+.2f}'),
          _interval(row, 'difference'),
        ]
      )
  columns = ['predictor', 'films', 'its MAE', '95 % interval']
  columns += [f'{report["stage"]} minus it', '95 % interval']
  return _table('Against other predictors', columns, rows) if rows else ''


def _regions(regions: Mapping[str, Any]) -> str:
  if not regions:
    return ''
  found = regions['found']
  rows = [
    ['films', *(str(r['films']) for r in found.values())],
    ['found on', *(str(r['found']) for r in found.values())],
  ]
  tables = [_table('Regions, films reported', ['', *found], rows)]
  for split, regions_of in regions['coverage'].items():
    part = [regions_of.get(name, {}) for name in found]
    rows = [
      [COVERAGE.get(key, key), *(_share(key, row.get(key)) for row in part)]
      for key in dict.fromkeys(k for row in part for k in row)
    ]
    if rows:
      title = f'Regions against annotated boxes, {split}'
      tables.append(_table(title, ['', *found], rows))
  return (
    f'<div class="pairs">{"".join(f"<div>{t}</div>" for t in tables)}</div>'
  )


def _share(key: str, value: Any) -> str:
  if not isinstance(value, float):
    return '' if value is None else str(value)
  if key in ('centre_distance', 'iou_wrist'):
    return f'{value:.3f}'
  return f'{100 * value:.0f} %'


def _produced(report: Mapping[str, Any], produced: Mapping[str, str]) -> str:
  rows = {'stage reported': report['stage'], **produced}
  data = report['data']
  names = {'name': 'data set', 'split': 'split'}
  rows |= {names[k]: v for k, v in data.items() if k in names}
  for name, labels in data.get('label_files', {}).items():
    rows[f'labels ({name})'] = f'{labels["file"]}, sha256 {labels["sha256"]}'
  return ''.join(
    f'<dt>{_text(k)}</dt><dd>{_text(v)}</dd>' for k, v in rows.items()
  )
