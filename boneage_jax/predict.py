"""Bone age of films: PNG, JPEG, DICOM, TIFF or BMP, one or a hundred thousand.

  python -m boneage_jax.predict --workdir=RUN FILM ... --sex=F [--out=DIR]
  python -m boneage_jax.predict --workdir=RUN --table=films.csv --out=DIR

FILM is a file, a folder, a zip archive or a DICOMDIR. By the nets that the run
reports, of a cross-validated run those of all folds; with intervals once the
run is calibrated (evaluate calibrate RUN). In the place of a run, --model=MODEL
takes what boneage_jax.export wrote. Sex is M, F or unknown and never
guessed: without --sex it must stand in the table or the DICOM header.

With --out a command that was killed goes on where it was, and several share
the work. Exit code 0: all films have an age, 1: some have none, 2: all.
"""

import argparse
from collections.abc import Sequence
import contextlib
import os
import sys

import cv2

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.data import groups
from boneage_jax.evaluation import errors
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.imaging import two_hands as two_hands_lib
from boneage_jax.inference import dicom_out
from boneage_jax.inference import dicom_report
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_list
from boneage_jax.inference import loading
from boneage_jax.inference import model_file
from boneage_jax.inference import net_inputs
from boneage_jax.inference import outlet
from boneage_jax.inference import reference as reference_lib
from boneage_jax.inference import row_file
from boneage_jax.inference import row_settings
from boneage_jax.inference import views

BATCH = 8  # films
UNFITTED = (
  'warning: this run has no fitted quality checks, so that no film is refused '
  'for what it shows: `evaluate calibrate RUN` fits them.'
)


def predict_films(
  predictor: loading.Either,
  films: Sequence[film_list.Film | str],
  sex: str | None,
  out: str | None,
  limits: limits_lib.Limits | None = None,
  view: str = 'text',
  archives: film_list.Archives | None = None,
  norm: reference_lib.Norm = reference_lib.NO_NORM,
  force: bool = False,
  objects: dicom_out.Objects | None = None,
) -> list[str]:
  """Predict and print films; return `FILM: reason` of those without an age.

  The folder `out` gets predictions.csv (see `tables.row`) and a picture of
  every row; both as films are predicted, so that a command that ends early
  leaves what it has. Films that have a row there are not read again, nor those
  that another process reads.

  Args:
    predictor: of a run.
    films: of `film_list.find`, or names of files.
    sex: of films of which a table does not say it; else that of the header.
    out: folder, or None.
    limits: of the size of a film.
    view: what is printed, of `views.VIEWS`.
    archives: that hold films.
    norm: that ages are compared with.
    force: films that are refused get their age all the same.
    objects: get what is said of DICOM films.

  Raises:
    OSError: `out` cannot be written.
    ValueError: `out` has rows of other nets or settings.
  """
  films = [
    film_list.of_file(film) if isinstance(film, str) else film for film in films
  ]
  job = outlet.Outlet(predictor, films, out, view, norm, force, objects)
  archives = archives or film_list.Archives()
  given = norm.chronological_age
  known = {} if given is None else {'chronological_age': given}
  reading = film_batches.Reading(archives, sex, limits, known)
  try:
    with job:
      if out:
        sides = sorted({film.side for film in films})
        settings = row_settings.of(predictor, sex, norm, force, sides)
        job.rows.check(settings)
        job.rows.check_cells({f.name: views.told(f.listed) for f in films})
      for answer in film_batches.predict(predictor, job.unread(), reading):
        job.take(answer)
      known = job.finish()
      if known:
        job.say_table(errors.films_table(*views.columns(known)))
  except BaseException:  # what was refused until then is said nevertheless
    _say_bad(job.bad, len(films))
    raise
  return job.bad


def _say_bad(bad: Sequence[str], count: int) -> None:
  """List the films that were not predicted, of `count`."""
  if bad:
    head = f'{len(bad)} of {count} films not predicted:'
    print(head, *bad, sep='\n  ', file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command; exits 1 when a film could not be predicted, 2 for all."""
  args = _parse(argv)
  before = _size(args.out)
  try:
    with door.one_line_errors():
      _run(args)
  except SystemExit as stop:
    if not isinstance(stop.code, str):
      raise
    print(stop.code, file=sys.stderr)
    sys.exit(1 if _size(args.out) > before else 2)


def _size(out: str | None) -> int:
  """Return the bytes of the rows of a folder."""
  with contextlib.suppress(OSError):
    return os.path.getsize(os.path.join(out or '', stages.PREDICTIONS))
  return 0


def _run(args: argparse.Namespace) -> None:
  cv2.setNumThreads(1)  # films are the parallel unit
  archives = film_list.Archives()
  found = film_list.find(args.films, archives, args.table, args.out or '')
  if found.others:
    print(f'{found.others} other files passed over.', file=sys.stderr)
  films, bad = film_list.cut(found.films, args.two_hands), found.bad
  total = len(films) + len(bad)
  place = sys.stdout if args.format == 'text' else sys.stderr
  if films:
    before = row_file.settings(args.out) if args.out else {}
    size = args.batch_size or before.get('batch_size')
    startup.set_up()
    startup.check_device()
    folder = model_file.folder_of(args.workdir, args.model)
    table = reference_lib.read(args.reference) if args.reference else None
    if args.dicom_out:
      dicom_report.import_highdicom()
    # What a net reads is written film by film.
    size = 1 if args.dump_inputs else size or min(BATCH, len(films))
    predictor = loading.load(folder, args.stage, size, args.site, args.dtype)
    if slow := loading.slow(folder, args.stage, args.dtype):
      print(slow, file=sys.stderr, flush=True)
    if args.dump_inputs:
      predictor.dump = net_inputs.Dump(predictor, folder, args.dump_inputs)
    print(door.shown(predictor.basis.sentence), file=place, flush=True)
    if predictor.checks is None:
      print(UNFITTED, file=sys.stderr, flush=True)
    limits = limits_lib.Limits(args.max_megapixels, args.max_megabytes)
    norm, objects = reference_lib.Norm(table, args.chronological_age), None
    if args.dicom_out:
      objects = dicom_out.Objects(
        args.dicom_out,
        dicom_out.settings(predictor, folder, args.stage, norm, args.force),
        lambda film: archives.read(film, limits),
      )
    bad = bad + predict_films(
      *(predictor, films, args.sex, args.out, limits, args.format, archives),
      *(norm, args.force, objects),
    )
  elif not bad:
    print('No films found.', file=sys.stderr)
  _say_bad(bad, total)
  print(views.NOTICE, file=place)
  if len(bad) == total:
    sys.exit(2)
  sys.exit(1 if bad else 0)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=f'{__doc__}\n{views.NOTICE}',
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    'films', nargs='*', metavar='FILM', help='file, folder, zip or DICOMDIR'
  )
  model_file.add_flags(parser)
  parser.add_argument(
    '--table', default='', help='of films: file, sex, perhaps age_true, group'
  )
  parser.add_argument(
    '--sex', choices=list(groups.SEX), help='of films without one in the table'
  )
  parser.add_argument('--out', help='folder for predictions.csv and overlays')
  parser.add_argument(
    '--format', choices=list(views.VIEWS), default='text', help='what to print'
  )
  parser.add_argument(
    '--batch_size',
    type=int,
    default=0,
    help=f'films at a time; by default {BATCH}, of fewer films their number',
  )
  parser.add_argument('--max_megapixels', type=float, default=64, help='a film')
  parser.add_argument('--max_megabytes', type=float, default=512, help='a film')
  parser.add_argument(
    '--dump_inputs', help='folder for what nets read of each film'
  )
  parser.add_argument(
    '--dicom_out', help='folder for reports and pictures of DICOM films'
  )
  parser.add_argument('--reference', help='table: sex, age, mean, sd; for SDS')
  parser.add_argument(
    '--chronological_age',
    type=float,
    help="months, of films without one in the table; else the DICOM header's",
  )
  parser.add_argument(
    '--two_hands',
    choices=two_hands_lib.CHOICES,
    default='',
    help='cut films of two hands; sides of the picture',
  )
  parser.add_argument(
    '--force', action='store_true', help='ages of refused films, too'
  )
  args = parser.parse_args(argv)
  if not args.films and not args.table:
    parser.error('expected films or --table, got neither')
  if args.batch_size < 0:
    parser.error(f'expected --batch_size of 1 or more, got {args.batch_size}')
  return args


if __name__ == '__main__':
  main()
