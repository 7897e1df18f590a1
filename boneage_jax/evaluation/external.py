"""Test a finished run on other films whose ages are known.

  python -m boneage_jax.evaluate external runs/NAME --data=films.csv --out=DIR

The run is its folder or a model file; of a cross-validated run the nets of all
folds predict. The data are a table (see docs/how-to/own_data.md) or the folder
of an archive. Films that trained or chose the run's nets are an error, unless
--leave_out_seen leaves them out. DIR gets predictions.csv, external.json and
plots, and may stand in the place of a run in `evaluate errors` and `evaluate
compare`. A command that was killed goes on.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import sys
from typing import Any

import tqdm

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.data import film_table
from boneage_jax.data import own_table
from boneage_jax.evaluation import command
from boneage_jax.evaluation import errors
from boneage_jax.evaluation import external_films
from boneage_jax.evaluation import external_views
from boneage_jax.evaluation import seen_films
from boneage_jax.imaging import two_hands
from boneage_jax.inference import film_batches
from boneage_jax.inference import loading
from boneage_jax.inference import model_file
from boneage_jax.inference import reference
from boneage_jax.inference import row_file
from boneage_jax.inference import row_settings
from boneage_jax.inference import views
from boneage_jax.runs import run as run_lib
from tfds_rsna import archive as archives
from tfds_rsna import labels

ROWS = 'films'  # folder of the rows as `predict` writes them
# Files that other folders have.
OF_RUNS = (stages.CONFIG, stages.DONE, stages.ENSEMBLE)
SHOWN = 5  # films that an error names


def check_seen(
  seen: Mapping[str, str], count: int, run: str, leave_out: bool
) -> None:
  """Check that films are new to a run, or that those that are not can go.

  Args:
    seen: the name of a film -> which film of which run it is.
    count: how many films there are.
    run: as a user names it.
    leave_out: whether films that it has seen are left out.

  Raises:
    ValueError: they stay, or no film is left; names the first of them.
  """
  rest = count - len(seen)
  if not seen or (leave_out and rest):
    return
  lines = [f'  {film} is {which}' for film, which in seen.items()]
  more = [f'  and {len(lines) - SHOWN} more'] * (len(lines) > SHOWN)
  remedy = f'Give --leave_out_seen to test on the {rest} left.'
  if not rest:
    remedy = 'No other film is left: give --data with other films.'
  raise ValueError(
    '\n'.join(
      [
        f'Expected films that {run} has not seen, got {len(seen)} of {count} '
        'that trained or chose its nets:',
        *lines[:SHOWN],
        *more,
        remedy,
      ]
    )
  )


def predict(
  nets: loading.Either, films: external_films.Films, out: str, force: bool
) -> list[dict[str, str]]:
  """Predict films; return the rows as `predict` writes them.

  Raises:
    ValueError: `out` has rows of other nets, settings or films.
  """
  with (
    row_file.RowFile(os.path.join(out, ROWS)) as rows,
    tqdm.tqdm(total=len(films.films), unit='film', disable=None) as bar,
  ):
    settings = row_settings.of(nets, None, reference.NO_NORM, force, ())
    rows.check(settings | {'data': films.fingerprint})
    unread = [film for film in films.films if rows.claim(film.name)]
    bar.update(len(films.films) - len(unread))
    for answer in film_batches.predict(nets, unread, films.reading):
      bar.update()
      if answer.prediction is None:
        films.bad.append([answer.film.name, answer.reason])
        continue
      said = dataclasses.replace(answer.prediction, forced=force)
      rows.add(views.film_row(said, answer, True))
    return rows.finish([film.name for film in films.films])


def external(
  run: str,
  data: str,
  out: str,
  *,
  stage: str = '',
  columns: Mapping[str, str] | None = None,
  age_unit: str = labels.UNITS[0],
  side: str = '',
  name: str = '',
  batch_size: int = 8,
  force: bool = False,
  leave_out_seen: bool = False,
) -> tuple[dict[str, Any], list[dict[str, str]]]:
  """Test a run on other films, and write the folder `out`.

  Args:
    run: folder of a run, `RUN:STAGE`, or a model file.
    data: table of films, see `own_table.read`, or the folder of an archive.
    out: folder.
    stage: that predicts, by default the reported one.
    columns: the user's names of columns, by ours.
    age_unit: of the ages, of `labels.UNITS`.
    side: kept of films that are wider than high, of `two_hands.SIDES`.
    name: of the data set.
    batch_size: films that nets read at a time.
    force: whether films that are refused count as well.
    leave_out_seen: whether films that trained or chose the nets are left out.

  Returns:
    what external.json holds, and the rows of films with an age.

  Raises:
    ValueError: films that the run has seen and that are not left out, faults
      of the table, no film with an age.
  """
  place, _, named = run.rpartition(':')
  if place and not os.path.exists(run):
    run, stage = place, stage or named
  if any(os.path.exists(os.path.join(out, name)) for name in OF_RUNS):
    raise ValueError(
      'Expected a new folder for --out, or that of an external test, got '
      f'{out}, which is of a run: choose another.'
    )
  workdir = model_file.open_run(run)
  config = run_lib.read_config(workdir)
  stage = stages.chosen(config, stage)
  if os.path.isdir(data):
    archive = archives.read(data, age_unit)
  else:
    archive = own_table.read(data, columns or {}, age_unit)
  films = external_films.Films(archive, side, name)
  known = films.look()
  trained, gone = seen_films.of_run(config, stage, workdir)
  seen = seen_films.matches(known, trained)
  check_seen(seen, len(known), run, leave_out_seen)
  films.leave_out(seen)
  if gone:
    print(
      f'warning: not all films that {run} was trained on are known, so it may '
      f'have seen some of these: {" ".join(gone)}',
      file=sys.stderr,
    )
  nets = loading.load(workdir, stage, batch_size)
  rows = predict(nets, films, out, force)
  kept = [row for row in rows if row['age_predicted']]
  if not kept:
    raise ValueError(
      f'Expected films with an age among those of {data}, got none of '
      f'{len(rows) + len(films.bad)}: look at {os.path.join(out, ROWS)}.'
    )
  result = {
    'run': f'{os.path.basename(os.path.normpath(run))}:{stage}',
    'data': films.data,
    'checked': not gone,
    'seen': seen,
    **external_views.summarise(kept),
    'own': _own(workdir, stage),
    'refused': [row['file'] for row in rows if not row['age_predicted']],
    'bad': films.bad,
  }
  external_views.write(out, result, kept)
  return result, kept


def _own(workdir: str, stage: str) -> dict[str, Any] | None:
  """Return the errors of a run on its own test films, else validation.

  A model file has no predictions of its own, so that there are none.
  """
  try:
    summary = errors.run_summary(run_lib.read_member(workdir, stage))
  except ValueError:
    return None
  for split, figures in summary['splits'].items():
    return {'split': split, 'errors': figures}
  return None


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('external', __doc__)
  parser.add_argument('run', metavar='RUN', help='folder, or a model file')
  parser.add_argument('--data', required=True, help='table, or an archive')
  parser.add_argument('--out', required=True, help='folder to write')
  parser.add_argument('--stage', default='', help='by default the reported one')
  parser.add_argument(
    '--column', action='append', default=[], metavar='OURS=THEIRS',
    help='what the table calls a column, such as age_true=boneage',
  )  # fmt: skip
  parser.add_argument('--age_unit', choices=labels.UNITS, default='months')
  parser.add_argument(
    '--two_hands', choices=two_hands.SIDES, default='',
    help='kept of films that are wider than high',
  )  # fmt: skip
  parser.add_argument('--name', default='', help='of the data set')
  parser.add_argument('--batch_size', type=int, default=8, help='films')
  parser.add_argument(
    '--force', action='store_true', help='ages of refused films, too'
  )
  parser.add_argument(
    '--leave_out_seen', action='store_true',
    help='leave out films that trained or chose the nets',
  )  # fmt: skip
  args = parser.parse_args(argv)
  with door.one_line_errors():
    columns = dict(pair.partition('=')[::2] for pair in args.column)
    unknown = sorted(set(columns) - set(film_table.listed()))
    if unknown:
      raise ValueError(
        f'Expected --column with one of {", ".join(film_table.listed())}, got '
        f'{", ".join(unknown)}.'
      )
    startup.set_up()
    startup.check_device()
    result, rows = external(
      *(args.run, args.data, args.out),
      stage=args.stage,
      columns=columns,
      age_unit=args.age_unit,
      side=args.two_hands,
      name=args.name,
      batch_size=args.batch_size,
      force=args.force,
      leave_out_seen=args.leave_out_seen,
    )
    door.say(external_views.table(result, rows))
    door.say(f'{views.NOTICE} Written to {args.out}.')
