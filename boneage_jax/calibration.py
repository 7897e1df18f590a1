"""Calibrate a run: temperature, intervals, and whether they hold.

  python -m boneage_jax.evaluate calibrate RUN[:stage] [--score=normalised]

Fits on the validation films and judges on the test films. Checkpoints, and the
weights of an ensemble, were chosen on validation, so errors there are a little
too small; of folds they are too large, as one net predicted a validation film
and the mean of all a test film. --calibrate_on=half_of_test fits on one half of
the test films (by a hash of the id), judges both calibrations on the other
half, and leaves the rest out. Films count as independent: of an archive with
several films of a hand intervals are too narrow.
"""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import hashlib
import itertools
import os
import sys
from typing import Any

import numpy as np

from boneage_jax import conformal
from boneage_jax import files
from boneage_jax import input_pipeline
from boneage_jax import plots
from boneage_jax import runs
from boneage_jax import tables

SOURCES = ('validation', 'half_of_test')
NOMINAL = tuple(range(5, 100, 5))  # per cent, of the reliability plot
TITLES = {
  'net': 'the net as it is',
  'tempered': 'tempered',
  'absolute': 'conformal, absolute',
  'normalised': 'conformal, normalised',
  'quantile': 'conformal, quantile',
  'from_validation': 'the same, fitted on validation',
}


def half(ids: np.ndarray) -> np.ndarray:
  """Return 0 or 1 per film, by another hash of the id than that of splits."""
  texts = [f'calibration {film}' for film in ids.tolist()]
  digests = [hashlib.sha256(text.encode()).digest() for text in texts]
  return np.array([digest[0] % 2 for digest in digests])


def calibrate(
  run: runs.Run,
  score: str = 'absolute',
  calibrate_on: str = 'validation',
  groups: str = 'sex_age',
  least: int = conformal.BAND_FILMS,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Calibrate on some films of a run and judge on others.

  Args:
    run: of `runs.read`.
    score, groups, least: as for `conformal.fit`.
    calibrate_on: 'validation', or 'half_of_test'.

  Returns:
    The content of calibration.json: that of `conformal.fit`; temperature and
    nll before and after it (None without bins); run, data, calibrated_on,
    films; coverage by group; ways, the coverage of every way (see TITLES);
    reliability, the shares that ways cover at `nominal`. And the films: the
    columns of the run, role and interval [N, levels, 2].

  Raises:
    ValueError: no test films, or too few to calibrate on.
  """
  films = dict(run.rows)
  probability = runs.distributions(run, films['id'])
  if probability is not None:
    films['probability'] = probability
  films['role'] = _roles(films, calibrate_on)
  fitted, judged = (
    input_pipeline.select(films, films['role'] == role)
    for role in ('fitted', 'judged')
  )
  if not len(fitted['id']) or not len(judged['id']):
    raise ValueError(
      f'Expected {calibrate_on} films to calibrate on and test films to judge '
      f'on, got {len(fitted["id"])} and {len(judged["id"])} in {run.name}.'
    )
  options = {'groups': groups, 'least': least}
  temperature = nll = None
  ready = films, fitted
  if probability is not None:
    temperature = conformal.fit_temperature(
      fitted['probability'], fitted['age']
    )
    ready = _temper(films, temperature), _temper(fitted, temperature)
    nll = [
      conformal.nll(judged['probability'], judged['age'], t)
      for t in (1.0, temperature)
    ]
  made = conformal.fit(ready[1], score, **options)

  ways = _ways(fitted, judged, conformal.LEVELS, options)
  validation = films['split'] == 'validation'
  enough = conformal.least_films(max(conformal.LEVELS))
  if calibrate_on == 'half_of_test' and validation.sum() >= enough:
    others = input_pipeline.select(films, validation), judged
    ways['from_validation'] = _ways(*others, conformal.LEVELS, options)[score]
  covered = {k: conformal.coverage(judged['age'], v) for k, v in ways.items()}
  curves = {
    k: conformal.coverage(judged['age'], v)['covered']
    for k, v in _ways(fitted, judged, NOMINAL, options).items()
  }
  result = {
    'run': run.name,
    'data': run.data,
    'calibrated_on': calibrate_on,
    'films': len(fitted['id']),
    'temperature': temperature,
    'nll': nll,
    **made,
    'coverage': conformal.grouped_coverage(judged, ways[score]),
    'ways': covered,
    'reliability': {'nominal': list(NOMINAL), **curves},
  }
  return result, films | {'interval': conformal.intervals(made, ready[0])}


def of_new_films(
  calibration: Mapping[str, Any], films: Mapping[str, np.ndarray]
) -> np.ndarray:
  """Return intervals of films that a calibrated run has never seen.

  Args:
    calibration: content of calibration.json.
    films: prediction (months) and male, [N]; with bins also probability,
      [N, bins], as the net says it.

  Returns:
    Months, [N, levels, 2].
  """
  if calibration['temperature'] and 'probability' in films:
    films = _temper(films, calibration['temperature'])
  return conformal.intervals(calibration, films)


def ends(levels: Sequence[int]) -> list[str]:
  """Name the columns of intervals, as lo90 and hi90."""
  return [f'{end}{level}' for level in levels for end in ('lo', 'hi')]


def reliability(result: Mapping[str, Any]) -> plots.Draw:
  """Plot covered against nominal shares of the ways that `result` compares."""

  def draw(figure: Any, palette: plots.Palette) -> None:
    axes = figure.subplots()
    curves = dict(result['reliability'])
    nominal = curves.pop('nominal')
    axes.plot([0, 100], [0, 100], color=palette['faint'], lw=1)
    looks = (
      ('net', palette['female'], '--'),
      ('tempered', palette['male'], '-.'),
      (result['score'], palette['accent'], '-'),
    )
    for name, colour, dash in looks:
      if name in curves:
        share = 100 * np.array(curves[name])
        axes.plot(nominal, share, dash, color=colour, label=TITLES[name])
    axes.set(xlim=(0, 100), ylim=(0, 100))
    axes.set(xlabel='nominal (%)', ylabel='test films covered (%)')
    axes.set_title(f'Intervals, n = {result["coverage"]["n"]}')
    axes.legend(loc='upper left')

  return draw


def table(result: Mapping[str, Any]) -> str:
  """Lay out what `calibrate` returned."""
  levels = [f'{level} %' for level in result['levels']]
  head = ['films']
  for level in levels:
    head += [f'in {level}', '95 % interval', 'months']
  rows = [_cells(TITLES[k], row) for k, row in result['ways'].items()]
  parts = [f'{result["run"]}: {runs.describe(result["data"])}']
  line = (
    f'Calibrated on {result["films"]} films ({result["calibrated_on"]}), '
    f'judged on {result["coverage"]["n"]} other films of test.'
  )
  if result['nll']:
    line += (
      f' Temperature {result["temperature"]:.3f}; -log p of the true month '
      f'{result["nll"][0]:.3f} before, {result["nll"][1]:.3f} after.'
    )
  parts += [line, tables.layout(['all films, by way', *head], rows)]
  rows = []
  for key in ('by_sex', 'by_predicted_age', 'by_age'):
    rows.append([key.replace('_', ' ')])
    for name, row in result['coverage'][key].items():
      rows.append(_cells(f'  {tables.group(name)}', row))
  parts.append(tables.layout([TITLES[result['score']], *head], rows))
  groups = [
    f'{tables.group(name)} {_groups(group)}'
    for name, group in result['groups'].items()
    if name != 'any'
  ]
  parts.append(
    'Groups by predicted age (calibration films): '
    f'{"; ".join(groups) or "none"}.'
  )
  return '\n\n'.join(parts)


def write(
  folder: str, result: Mapping[str, Any], films: Mapping[str, np.ndarray]
) -> None:
  """Write calibration.json, intervals.csv and reliability.png to a folder."""
  files.make_folder(folder)
  files.write_json(os.path.join(folder, 'calibration.json'), result, indent=1)
  with files.replacing(os.path.join(folder, 'intervals.csv')) as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow([*runs.COLUMNS, *ends(result['levels']), 'role'])
    columns = [films[name].tolist() for name in runs.COLUMNS]
    for *film, role, interval in zip(
      *columns, films['role'], films['interval'], strict=True
    ):
      months = [f'{end:.2f}' for end in interval.reshape(-1)]
      writer.writerow([*film, *months, role])
  with files.replacing(os.path.join(folder, 'reliability.png'), 'wb') as file:
    file.write(plots.png(reliability(result)))


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = argparse.ArgumentParser(
    prog='evaluate calibrate', description='Temperature and intervals of a run.'
  )
  parser.add_argument('run', metavar='RUN[:stage]')
  parser.add_argument('--score', choices=conformal.SCORES, default='absolute')
  parser.add_argument('--calibrate_on', choices=SOURCES, default=SOURCES[0])
  parser.add_argument('--groups', choices=conformal.GROUPS, default='sex_age')
  parser.add_argument(
    '--least', type=int, default=conformal.BAND_FILMS, help='films of a band'
  )
  parser.add_argument('--out', help="folder, instead of the stage's own")
  args = parser.parse_args(argv)
  try:
    run = runs.read(args.run)
    result, films = calibrate(
      run, args.score, args.calibrate_on, args.groups, args.least
    )
    write(args.out or run.folder, result, films)
  except (ValueError, OSError) as error:
    sys.exit(f'Error: {error}')
  print(table(result))


def _roles(films: Mapping[str, np.ndarray], calibrate_on: str) -> np.ndarray:
  """Name the films that calibration is fitted and judged on."""
  test, validation = (
    films['split'] == split for split in ('test', 'validation')
  )
  if calibrate_on == 'validation':
    return np.select([validation, test], ['fitted', 'judged'], '')
  halves = half(films['id'])
  return np.select(
    [test & (halves == 0), test & (halves == 1)], ['fitted', 'judged'], ''
  )


def _temper(
  films: Mapping[str, np.ndarray], temperature: float
) -> dict[str, np.ndarray]:
  tempered = conformal.temper(films['probability'], temperature)
  return {**films, 'probability': tempered}


def _ways(
  fitted: Mapping[str, np.ndarray],
  judged: Mapping[str, np.ndarray],
  levels: Sequence[int],
  options: Mapping[str, Any],
) -> dict[str, np.ndarray]:
  """Return intervals [N, levels, 2] of the judged films by every way."""
  out, scores = {}, conformal.SCORES[:1]
  if 'probability' in fitted:
    scores = conformal.SCORES
    temperature = conformal.fit_temperature(
      fitted['probability'], fitted['age']
    )
    out['net'] = conformal.central(judged['probability'], levels)
    fitted, judged = _temper(fitted, temperature), _temper(judged, temperature)
    out['tempered'] = conformal.central(judged['probability'], levels)
  for score in scores:
    made = conformal.fit(fitted, score, levels=levels, **options)
    out[score] = conformal.intervals(made, judged)
  return out


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
  cells = [name, str(row['n'])]
  for share, (low, high), width in zip(
    row['covered'], row['ci95'], row['width'], strict=True
  ):
    ends = f'{100 * low:.0f} to {100 * high:.0f}'
    cells += [f'{100 * share:.1f} %', ends, f'{width:.1f}']
  return cells


def _groups(group: Mapping[str, Any]) -> str:
  """Lay out the groups of one sex: <72 (31), 72-120 (24), 120+ (25)."""
  cuts = group['cuts']
  if not cuts:
    return f'all ages ({group["n"][0]})'
  names = [f'{a}-{b}' for a, b in itertools.pairwise(cuts)]
  names = [f'<{cuts[0]}', *names, f'{cuts[-1]}+']
  return ', '.join(
    f'{name} ({n})' for name, n in zip(names, group['n'], strict=True)
  )
