"""Bone age of films, as PNG, JPEG, DICOM, TIFF or BMP.

  python -m boneage_jax.predict --workdir=RUN FILM ... --sex=F [--out=DIR]

By the nets that the run reports, of a cross-validated run those of all folds;
with intervals once the run is calibrated (evaluate calibrate RUN). In the
place of a run, --model=MODEL takes what boneage_jax.export wrote.
Sex is M, F or unknown and never guessed: without --sex it must stand in the
DICOM header.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import itertools
import os
import re
import sys
from typing import NamedTuple

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.imaging import codec
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.imaging import overlay
from boneage_jax.imaging import png
from boneage_jax.imaging import two_hands as two_hands_lib
from boneage_jax.inference import film_file
from boneage_jax.inference import loading
from boneage_jax.inference import model_file
from boneage_jax.inference import net_inputs
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import reference as reference_lib
from boneage_jax.inference import tables

NOTICE = 'For research, not for diagnosis.'
UNFITTED = (
  'warning: this run has no fitted quality checks, so that no film is refused: '
  '`evaluate calibrate RUN` fits them.'
)


class Norm(NamedTuple):
  """What bone ages are compared with: a norm, and the age of these children.

  Attributes:
    reference: of `reference.read`, or None.
    chronological_age: months, in the place of the headers' ages, or None.
  """

  reference: reference_lib.Reference | None = None
  chronological_age: float | None = None


NO_NORM = Norm()


def predict_films(
  predictor: loading.Either,
  paths: Sequence[str],
  sex: str | None,
  out: str | None,
  limits: limits_lib.Limits | None = None,
  norm: Norm = NO_NORM,
  two_hands: str = '',
  force: bool = False,
) -> list[str]:
  """Predict and print films; return `FILM: reason` of those that were bad.

  With `two_hands`, of `two_hands.CHOICES`, films are cut first. With `force`,
  films that are refused get their age all the same.

  The folder `out` gets predictions.csv (see `tables.row`) and a picture of
  every row, numbered; both as films are predicted, so that a command that ends
  early leaves what it has.

  Raises:
    OSError: `out` cannot be written.
  """
  bad = []
  if out:
    os.makedirs(out, exist_ok=True)
    written = tables.File(os.path.join(out, stages.PREDICTIONS))
  try:
    for path, side in itertools.product(paths, _sides(two_hands)):
      name = door.shown(f'{path}#{side}' if side else path)
      try:
        film, prediction = _predict(predictor, path, sex, limits, norm, side)
      except ValueError as error:
        bad.append(door.shown(f'{name}: {error}'))
        continue
      prediction = dataclasses.replace(prediction, forced=force)
      if prediction.withheld:
        bad.append(f'{name}: {tables.format_line(prediction)}')
      for text in _warnings(prediction, film.sex, predictor.inverted):
        print(f'warning: {name}: {text}', file=sys.stderr, flush=True)
      if norm.reference and prediction.sds is None:
        why = reference_lib.why_none(prediction, norm.reference)
        print(f'warning: {name}: {why}', file=sys.stderr, flush=True)
      print(f'{name}: {tables.format_line(prediction)}', flush=True)
      if out:
        written.add(tables.row(prediction, name))
        picture = os.path.join(out, picture_name(len(written), path))
        with open(picture, 'wb') as file:
          file.write(png.encode(_picture(prediction)[..., ::-1]))
  except BaseException:  # what was refused until then is said nevertheless
    _say_bad(bad, len(paths))
    raise
  return bad


def picture_name(number: int, path: str) -> str:
  """Return the name of a film's picture, which any file system takes.

  It is numbered, as films in two folders may share a name.
  """
  name, _ = os.path.splitext(os.path.basename(path))
  name = re.sub(r'[\\/:*?"<>|]', '_', door.shown(name))
  short = name.encode()[:200].decode(errors='ignore')  # of 255 bytes
  return f'{number:03d}_{short}.png'


def _sides(two_hands: str) -> Sequence[str]:
  """Return the parts of each film to read; '' is all of it."""
  return two_hands_lib.SIDES if two_hands == 'both' else (two_hands,)


def _say_bad(bad: Sequence[str], count: int) -> None:
  """List the films that were not predicted, of `count`."""
  if bad:
    head = f'{len(bad)} of {count} films not predicted:'
    print(head, *bad, sep='\n  ', file=sys.stderr)


def _predict(
  predictor: loading.Either,
  path: str,
  sex: str | None,
  limits: limits_lib.Limits | None,
  norm: Norm,
  side: str,
) -> tuple[film_file.FilmFile, prediction_lib.Prediction]:
  """Read and predict one film.

  Raises:
    ValueError: why not; no film ends the command.
  """
  film = film_file.read(path, limits)
  used = film_file.choose_sex(sex, film.sex)
  image = film.with_polarity(predictor.inverted)
  if side:
    image = two_hands_lib.cut(image, side, predictor.inverted)
  try:
    prediction = predictor.predict(image, used)
  except ValueError:
    raise
  except Exception as error:  # such as memory that runs out
    raise ValueError(
      f'Cannot be predicted: {type(error).__name__}: {door.reason(error)}.'
    ) from error
  prediction = prediction_lib.with_notes(prediction, film.notes, film.flags)
  return film, _compared(prediction, film.chronological_age, norm)


def _picture(prediction: prediction_lib.Prediction) -> np.ndarray:
  """Return the film with what was found on it, and what the age rests on."""
  lines = [tables.format_line(prediction)]
  lines += [prediction.basis.sentence] if prediction.basis else []
  return overlay.captioned(prediction.overlay, '. '.join([*lines, NOTICE]))


def _compared(
  prediction: prediction_lib.Prediction, in_header: float | None, norm: Norm
) -> prediction_lib.Prediction:
  """Add the chronological age and, with a norm, the SDS."""
  given = norm.chronological_age
  age = in_header if given is None else given
  known = dataclasses.replace(prediction, chronological_age=age)
  return reference_lib.with_sds(known, norm.reference)


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command; exits 1 when a film was not predicted or was refused."""
  parser = argparse.ArgumentParser(description=f'Bone age of films. {NOTICE}')
  parser.add_argument(
    'films', nargs='+', metavar='FILM', help='png, jpg, dcm, tif, bmp'
  )
  place = parser.add_mutually_exclusive_group(required=True)
  place.add_argument('--workdir', help='folder of a run')
  place.add_argument('--model', help='model file: a folder or a zip')
  parser.add_argument('--stage', default='', help='by default the reported one')
  parser.add_argument(
    '--sex', choices=list(groups.SEX), help='of all these films'
  )
  parser.add_argument('--out', help='folder for predictions.csv and overlays')
  parser.add_argument('--max_megapixels', type=float, default=64, help='a film')
  parser.add_argument('--max_megabytes', type=float, default=512, help='a film')
  parser.add_argument(
    '--dump_inputs', help='folder for what nets read of each film'
  )
  parser.add_argument('--site', default='', help='of evaluate adapt')
  parser.add_argument('--reference', help='table: sex, age, mean, sd; for SDS')
  parser.add_argument(
    '--chronological_age',
    type=float,
    help="months, of all these films; by default the DICOM header's",
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
  with door.one_line_errors():
    startup.set_up()
    startup.check_device()
    if args.model:
      folder = model_file.open_model(args.model)
    else:
      folder = storage.absolute(args.workdir)
    table = reference_lib.read(args.reference) if args.reference else None
    predictor = loading.load(folder, args.stage, site=args.site)
    if args.dump_inputs:
      predictor.dump = net_inputs.Dump(predictor, folder, args.dump_inputs)
    door.say(predictor.basis.sentence)
    if predictor.checks is None:
      print(UNFITTED, file=sys.stderr, flush=True)
    bad = predict_films(
      predictor,
      args.films,
      args.sex,
      args.out,
      limits_lib.Limits(args.max_megapixels, args.max_megabytes),
      Norm(table, args.chronological_age),
      args.two_hands,
      args.force,
    )
  _say_bad(bad, len(args.films))
  print(NOTICE)
  sys.exit(1 if bad else 0)


def _warnings(
  prediction: prediction_lib.Prediction, header_sex: str, inverted: bool
) -> Iterator[str]:
  """Yield what a user should know before trusting a prediction."""
  if header_sex not in ('unknown', prediction.sex):
    yield f'the header says sex {header_sex}; --sex={prediction.sex} is used'
  for flag in prediction.quality_flags:
    if flag == 'region':
      continue  # said by name below
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
