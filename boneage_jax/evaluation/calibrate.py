"""Calibrate a run: its temperature and its prediction intervals.

  python -m boneage_jax.evaluate calibrate runs/cascade_phantom

Both are fitted on the validation films and judged on the test films. Writes
calibration.json, intervals.csv and reliability.png to the stage's folder
and fills lo90 and hi90 of its predictions.csv; `predict` then prints intervals.

Errors on validation films are a little too small, because checkpoints and the
weights of ensembles were chosen on them. In cross-validation they are too
large: one net predicts a validation film, the mean of all nets a test film.
--calibrate_on=half_of_test avoids both. It fits on one half of the test films
(by a hash of the id) and judges on the other half. Films count as independent:
if an archive has several films of a hand, intervals are too narrow.

It also fits the quality checks that make `predict` refuse a film or ask for a
look at it, on training films with planted faults and clean validation films,
and writes them to quality.npz and quality.json. --exclude names a file with the
ids of validation films that are not clean, one a line.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
import os
from typing import Any

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import film_table
from boneage_jax.data import groups
from boneage_jax.evaluation import calibration_views
from boneage_jax.evaluation import command
from boneage_jax.evaluation import interval_coverage
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import quality_fit
from boneage_jax.inference import intervals
from boneage_jax.runs import predictions
from boneage_jax.runs import run as run_lib

SOURCES = ('validation', 'half_of_test')
NOMINAL = tuple(range(5, 100, 5))  # per cent, of the reliability plot


def half(ids: np.ndarray) -> np.ndarray:
  """Return 0 or 1 per film, by another hash of the id than that of splits."""
  texts = [f'calibration {film}' for film in ids.tolist()]
  digests = [hashlib.sha256(text.encode()).digest() for text in texts]
  return np.array([digest[0] % 2 for digest in digests])


def calibrate(
  run: run_lib.Run,
  score: str = 'absolute',
  calibrate_on: str = 'validation',
  groups: str = 'sex_age',
  least: int = intervals.BAND_FILMS,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Calibrate on some films of a run and judge on others.

  Args:
    run: of `run.read_run`.
    score, groups, least: as for `intervals.fit`.
    calibrate_on: 'validation', or 'half_of_test'.

  Returns:
    The content of calibration.json: that of `intervals.fit`; temperature and
    nll before and after it (None without bins); run, data, calibrated_on,
    films; coverage by group; ways, the coverage of every way
    (`calibration_views.TITLES`); reliability, the shares that ways cover at
    `nominal`. And the films: the columns of the run, role and interval
    [N, levels, 2].

  Raises:
    ValueError: no test films, or too few to calibrate on.
  """
  films = dict(run.rows)
  probability = run_lib.distributions(run, films['id'])
  if probability is not None:
    films['probability'] = probability
  films['role'] = _roles(films, calibrate_on)
  fitted, judged = (
    film_table.select(films, films['role'] == role)
    for role in ('fitted', 'judged')
  )
  if not len(fitted['id']) or not len(judged['id']):
    raise ValueError(
      f'Expected {calibrate_on} films to calibrate on and test films to judge '
      f'on, got {len(fitted["id"])} and {len(judged["id"])} in {run.name}: '
      'run it anew with a larger --config.data.test_fraction.'
    )
  options = {'groups': groups, 'least': least}
  temperature = nll = None
  ready, tuned = films, fitted
  if probability is not None:
    temperature = intervals.fit_temperature(
      fitted['probability'], fitted['age']
    )
    ready, tuned = (
      intervals.tempered(some, temperature) for some in (films, fitted)
    )
    nll = [
      intervals.nll(judged['probability'], judged['age'], t)
      for t in (1.0, temperature)
    ]
  made = intervals.fit(tuned, score, **options)

  ways = _ways(fitted, judged, intervals.LEVELS, options)
  validation = films['split'] == 'validation'
  enough = intervals.least_films(max(intervals.LEVELS))
  if calibrate_on == 'half_of_test' and validation.sum() >= enough:
    others = film_table.select(films, validation), judged
    ways['from_validation'] = _ways(*others, intervals.LEVELS, options)[score]
  cover = lambda ends: interval_coverage.coverage(judged['age'], ends)
  curves = _ways(fitted, judged, NOMINAL, options).items()
  result = {
    'run': run.name,
    'data': run.data,
    'calibrated_on': calibrate_on,
    'films': len(fitted['id']),
    'temperature': temperature,
    'nll': nll,
    **made,
    'coverage': interval_coverage.grouped_coverage(judged, ways[score]),
    'ways': {way: cover(ends) for way, ends in ways.items()},
    'reliability': {
      'nominal': list(NOMINAL),
      **{way: cover(ends)['covered'] for way, ends in curves},
    },
  }
  return result, films | {'interval': intervals.apply(made, ready)}


def write_calibration(
  folder: str, result: Mapping[str, Any], films: Mapping[str, np.ndarray]
) -> None:
  """Write calibration.json, intervals.csv and reliability.png to a folder."""
  storage.make_folder(folder)
  storage.write_json(os.path.join(folder, stages.CALIBRATION), result, indent=1)
  with storage.replacing(os.path.join(folder, 'intervals.csv')) as file:
    writer = tables.Writer(file)
    writer.writerow(
      [
        *predictions.FILE_COLUMNS[:5],
        *intervals.ends(result['levels']),
        'role',
      ]
    )
    films = {**films, 'sex': groups.sex_text(films['sex'])}
    columns = [films[name].tolist() for name in run_lib.COLUMNS]
    for *film, role, interval in zip(
      *columns, films['role'], films['interval'], strict=True
    ):
      months = [f'{end:.2f}' for end in interval.reshape(-1)]
      writer.writerow([*film, *months, role])
  with storage.replacing(os.path.join(folder, 'reliability.png'), 'wb') as file:
    file.write(plot_style.png(calibration_views.reliability(result)))


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('calibrate', __doc__)
  parser.add_argument('run', metavar='RUN[:stage]')
  parser.add_argument(
    '--score',
    choices=intervals.SCORES,
    default='absolute',
    help='what intervals scale with',
  )
  parser.add_argument(
    '--calibrate_on',
    choices=SOURCES,
    default=SOURCES[0],
    help='films to fit on',
  )
  parser.add_argument(
    '--groups',
    choices=intervals.GROUPS,
    default='sex_age',
    help='films that share an interval',
  )
  parser.add_argument(
    '--least',
    type=int,
    default=intervals.BAND_FILMS,
    help='least number of films of an age band',
  )
  parser.add_argument('--exclude', help='file of ids that are not clean films')
  parser.add_argument(
    '--quality_films',
    type=int,
    default=quality_fit.FILMS,
    help='training films to fit quality checks on; 0 fits none',
  )
  parser.add_argument('--out', help="folder to write; default: the stage's")
  args = parser.parse_args(argv)
  with door.one_line_errors():
    run = run_lib.read_run(args.run)
    result, films = calibrate(
      run, args.score, args.calibrate_on, args.groups, args.least
    )
    write_calibration(args.out or run.folder, result, films)
    if not args.out:
      interval = films['interval'][:, result['levels'].index(90)]
      predictions.fill_intervals(run.folder, films['id'], interval)
    print(calibration_views.table(result))
    if args.quality_films:
      excluded = _excluded(args.exclude, films['id'])
      _fit_quality(run, args.out or run.folder, excluded, args.quality_films)


def _excluded(path: str | None, ids: np.ndarray) -> list[str]:
  """Read ids, one a line.

  Raises:
    ValueError: one is of no film of the run.
  """
  if not path:
    return []
  with storage.reading(path) as file:
    named = [line.strip() for line in file if line.strip()]
  unknown = [name for name in named if name not in set(ids.tolist())]
  if unknown:
    raise ValueError(
      f'Expected ids of films of the run in {path}, got {unknown[0]!r}: give '
      'one id a line, as in predictions.csv.'
    )
  return named


def _fit_quality(
  run: run_lib.Run, folder: str, excluded: Sequence[str], films: int
) -> None:
  """Fit quality checks, or say why there are none."""
  try:
    checks, said = quality_fit.fit(run, excluded, films)
  except ValueError as error:
    print(f'\nNo quality checks: {error}')
    return
  quality_fit.write(folder, checks, said)
  print(f'\n{quality_fit.sentence(said)}')


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


def _ways(
  fitted: Mapping[str, np.ndarray],
  judged: Mapping[str, np.ndarray],
  levels: Sequence[int],
  options: Mapping[str, Any],
) -> dict[str, np.ndarray]:
  """Return intervals [N, levels, 2] of the judged films by every way."""
  out, scores = {}, intervals.SCORES[:1]
  if 'probability' in fitted:
    scores = intervals.SCORES
    temperature = intervals.fit_temperature(
      fitted['probability'], fitted['age']
    )
    out['net'] = intervals.central(judged['probability'], levels)
    fitted, judged = (
      intervals.tempered(fitted, temperature),
      intervals.tempered(judged, temperature),
    )
    out['tempered'] = intervals.central(judged['probability'], levels)
  for score in scores:
    made = intervals.fit(fitted, score, levels=levels, **options)
    out[score] = intervals.apply(made, judged)
  return out
