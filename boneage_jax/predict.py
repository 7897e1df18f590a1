"""Bone age of films: PNG, JPEG, DICOM, TIFF or BMP, one or a hundred thousand.

  python -m boneage_jax.predict --workdir=RUN FILM ... --sex=F [--out=DIR]
  python -m boneage_jax.predict --workdir=RUN --table=films.csv --out=DIR

FILM is a file, a folder, a zip archive or a DICOMDIR. By the nets that the run
reports, of a cross-validated run those of all folds; with intervals once the
run is calibrated (evaluate calibrate RUN). Sex is M, F or unknown and never
guessed: without --sex it must stand in the table or the DICOM header.

With --out a command that was killed goes on where it was, and several share
the work. Exit code 0: all films are read, 1: some are not, 2: none.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import hashlib
import json
import os
import re
import sys
from typing import Any

import cv2
import tqdm

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.evaluation import errors
from boneage_jax.imaging import codec
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.imaging import png
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_list
from boneage_jax.inference import loading
from boneage_jax.inference import one_film
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import row_file
from boneage_jax.inference import tables
from boneage_jax.inference import views

NOTICE = 'For research, not for diagnosis.'
BATCH = 8  # films


def predict_films(
  predictor: loading.Either,
  films: Sequence[film_list.Film | str],
  sex: str | None,
  out: str | None,
  limits: limits_lib.Limits | None = None,
  view: str = 'text',
  archives: film_list.Archives | None = None,
) -> list[str]:
  """Predict and print films; return `FILM: reason` of those that were bad.

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

  Raises:
    OSError: `out` cannot be written.
    ValueError: `out` has rows of other nets or settings.
  """
  films = [
    film_list.of_file(film) if isinstance(film, str) else film for film in films
  ]
  job = _Job(predictor, films, out, view)
  archives = archives or film_list.Archives()
  reading = film_batches.Reading(archives, sex, limits)
  try:
    with job:
      if out:
        job.rows.check(settings(predictor, sex))
      for answer in film_batches.predict(predictor, job.unread(), reading):
        job.take(answer)
      job.finish()
  except BaseException:  # what was refused until then is said nevertheless
    _say_bad(job.bad, len(films))
    raise
  return job.bad


def settings(predictor: loading.Either, sex: str | None) -> dict[str, Any]:
  """Say on what rows depend: nets by the ages that they give one phantom."""
  calibration = json.dumps(dict(predictor.calibration), sort_keys=True)
  return {
    'format': 1,
    'batch_size': predictor.batch_size,
    'sex': sex or '',
    'calibration': hashlib.sha256(calibration.encode()).hexdigest()[:12],
    'ages': one_film.ages_of_phantom(predictor),
  }


class _Job:
  """Films of one command on their way to rows and lines; a context."""

  def __init__(
    self,
    predictor: loading.Either,
    films: Sequence[film_list.Film],
    out: str | None,
    view: str,
  ):
    self.bad: list[str] = []
    self.rows: row_file.RowFile | None = None
    self._films, self._out, self._inverted = films, out, predictor.inverted
    self._view = views.VIEWS[view]()
    self._listed = any(film.listed for film in films)
    self._known: list[dict[str, str]] = []  # rows with a true age
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> '_Job':
    if self._out:
      self.rows = self._stack.enter_context(row_file.RowFile(self._out))
    self._bar = self._stack.enter_context(
      tqdm.tqdm(total=len(self._films), unit='film', disable=None)
    )
    return self

  def __exit__(self, *error: object) -> None:
    self._stack.close()

  def unread(self) -> Iterator[film_list.Film]:
    """Yield films without a row that no other process reads."""
    for film in self._films:
      if self.rows is None or self.rows.claim(film.name):
        yield film
      else:
        self._bar.update()

  def take(self, answer: film_batches.Answer) -> None:
    """Print what came of a film, and write its row."""
    name, prediction = answer.film.name, answer.prediction
    self._bar.update()
    if prediction is None:
      self.bad.append(door.shown(f'{name}: {answer.reason}'))
      return
    for text in _warnings(prediction, answer.file.sex, self._inverted):
      self._say(f'warning: {name}: {text}', sys.stderr)
    row = views.film_row(prediction, answer, self._listed)
    if self._out:
      row['picture'] = picture_name(name)
      with open(os.path.join(self._out, row['picture']), 'wb') as file:
        file.write(png.encode(prediction.overlay[..., ::-1]))
      self.rows.add(row)
    elif row['age_true']:
      self._known.append(row)
    for line in self._view.lines(prediction, row):
      self._say(line, sys.stdout)

  def finish(self) -> None:
    """Sort the rows; where true ages are known, print the errors."""
    known = self._known
    if self.rows is not None:
      rows = self.rows.finish([film.name for film in self._films])
      known = [row for row in rows if row['age_true']]
    self._bar.close()
    if self._listed and known:
      table = errors.films_table(*views.columns(known))
      self._say(table, sys.stdout if self._view.is_text else sys.stderr)

  def _say(self, text: str, file: Any) -> None:
    self._bar.write(text, file)
    file.flush()


def picture_name(name: str) -> str:
  """Return the name of a film's picture, which any file system takes.

  It ends with letters of all of the film's name, as films in two folders may
  share the last part of it.
  """
  base, _ = os.path.splitext(os.path.basename(name))
  base = re.sub(r'[\\/:*?"<>|]', '_', door.shown(base))
  short = base.encode()[:200].decode(errors='ignore')  # of 255 bytes
  return f'{short}_{hashlib.sha256(name.encode()).hexdigest()[:8]}.png'


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
  total = len(found.films) + len(found.bad)
  bad = found.bad
  if found.films:
    before = row_file.settings(args.out) if args.out else {}
    size = args.batch_size or before.get('batch_size')
    startup.set_up()
    startup.check_device()
    predictor = loading.load(
      *(storage.absolute(args.workdir), args.stage),
      size or min(BATCH, len(found.films)),
    )
    bad = bad + predict_films(
      *(predictor, found.films, args.sex, args.out),
      limits_lib.Limits(args.max_megapixels, args.max_megabytes),
      *(args.format, archives),
    )
  elif not bad:
    print('No films found.', file=sys.stderr)
  _say_bad(bad, total)
  print(NOTICE, file=sys.stdout if args.format == 'text' else sys.stderr)
  if len(bad) == total:
    sys.exit(2)
  sys.exit(1 if bad else 0)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=f'{__doc__}\n{NOTICE}',
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    'films', nargs='*', metavar='FILM', help='file, folder, zip or DICOMDIR'
  )
  parser.add_argument('--workdir', required=True, help='folder of a run')
  parser.add_argument('--stage', default='', help='by default the reported one')
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
  args = parser.parse_args(argv)
  if not args.films and not args.table:
    parser.error('expected films or --table, got neither')
  if args.batch_size < 0:
    parser.error(f'expected --batch_size of 1 or more, got {args.batch_size}')
  return args


def _warnings(
  prediction: prediction_lib.Prediction, header_sex: str, inverted: bool
) -> Iterator[str]:
  """Yield what a user should know before trusting a prediction."""
  if header_sex not in ('unknown', prediction.sex):
    yield f'the header says sex {header_sex}; --sex={prediction.sex} is used'
  for flag in prediction.quality_flags:
    yield quality.sentence(flag, inverted)
  for note in prediction.notes:
    if note not in prediction.quality_flags:
      yield codec.NOTES[note]
  for name, region in prediction.regions.items():
    if not region.found:
      yield f'{name} was not found; the whole film stands in for it'
  if prediction.hand is not None:
    yield from tables.hand_warnings(prediction.hand)


if __name__ == '__main__':
  main()
