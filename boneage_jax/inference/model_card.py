"""The card of a model: what it is, what it was trained on, how it errs."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.inference import basis as basis_lib

FORMAT = 1
KEPT = ('stage', 'headline', 'splits', 'data', 'alarms')  # of report.json
NOT_SAID = 'not stated by whoever exported the model'
OF_PHANTOMS = 'none needed: boneage_jax drew them'
NOT_FOR = (
  'diagnosis, or any other decision about a patient: no authority has cleared '
  'it',
  'telling the chronological age of a person, such as in law or migration',
  'films unlike those that it was trained on: other parts of the body, other '
  'views, other populations, until they were compared with known ages',
)


def report_of(config: Any, stage: str, workdir: str) -> dict[str, Any]:
  """Return what a model file keeps of the run's report: figures and data.

  A run without a report, or with one of another stage, has no figures to keep.
  """
  path = stages.report_path(workdir, stages.REPORT_JSON)
  report = storage.read_json(path, {})
  kept = {name: report[name] for name in KEPT if name in report}
  if kept.get('stage') != stage:
    kept = {}
  data = {**kept.get('data', {}), **basis_lib.known_data(config, workdir)}
  data.pop('unreadable', None)  # ids of films
  return {**kept, 'data': data}


def card(
  basis: basis_lib.Basis,
  report: Mapping[str, Any],
  licence: str,
  inputs: Sequence[str] = (),
) -> tuple[dict[str, Any], str]:
  """Return the card as JSON and as Markdown.

  Args:
    basis: of the model.
    report: of `report_of`.
    licence: of the films, as the user says; '' if nobody does.
    inputs: numbers that the model needs beside the film and its sex.
  """
  if not licence:
    licence = OF_PHANTOMS if basis.synthetic else NOT_SAID
  about = {
    'format': FORMAT,
    **basis._asdict(),
    'inputs': ['film', 'sex', *inputs],
    'films_licence': licence,
    'figures': report.get('splits', {}),
    'alarms': report.get('alarms', []),
    'not_for': list(NOT_FOR),
  }
  return about, _markdown(about, basis, report['data'])


def _markdown(
  about: Mapping[str, Any], basis: basis_lib.Basis, data: Mapping[str, Any]
) -> str:
  lines = [
    f'# Bone age of hand radiographs: {basis.method}',
    '',
    f'Made with boneage_jax {basis.version}. Takes a radiograph of a hand and '
    f'{_words(about["inputs"][1:])}, gives the bone age in months.',
    '',
    '## Trained on',
    '',
    f'{basis.data[:1].upper()}{basis.data[1:]}.',
  ]
  if 'split' in data:
    lines += ['', f'Split: {data["split"]}.']
  if basis.synthetic:
    said = basis_lib.SYNTHETIC
    lines += ['', f'**{said[:1].upper()}{said[1:]}.**']
  lines += ['', f'Licence of the films: {about["films_licence"]}.', '']
  lines += ['## Figures', '']
  if not about['figures']:
    lines += ['The run has no report of this stage, so none are known.', '']
  for split, row in about['figures'].items():
    lines += [f'Films of {split}; months.', '', *_table(row), '']
  lines += [*(f'- {alarm}' for alarm in about['alarms'])]
  lines += ['' for _ in about['alarms'][:1]]
  lines += ['## Not for', '', *(f'- {text};' for text in about['not_for'])]
  lines[-1] = f'{lines[-1][:-1]}.'
  return '\n'.join(lines) + '\n'


def _words(inputs: Sequence[str]) -> str:
  """Write what a model takes, as 'the sex and the chronological age'."""
  return ' and '.join(f'the {name.replace("_", " ")}' for name in inputs)


def _table(row: Mapping[str, Any]) -> list[str]:
  lines = [
    '| films | n | MAE | 95 % interval | bias | within 12 |',
    '|---|---|---|---|---|---|',
    _row('all', row),
  ]
  for sex, part in row.get('by_sex', {}).items():
    lines.append(_row(groups.PLURAL[sex], part))
  for band, part in row.get('by_age', {}).items():
    lines.append(_row(f'{band} months', part))
  return lines


def _row(name: str, row: Mapping[str, Any]) -> str:
  interval = row.get('mae_ci95')  # of few films there is none
  ends = f'{interval[0]:.1f} to {interval[1]:.1f}' if interval else ''
  return (
    f'| {name} | {row["n"]} | {row["mae"]:.1f} | {ends} | {row["bias"]:+.1f} '
    f'| {100 * row["within_12"]:.0f} % |'
  )
