"""Bone age of films, as PNG, JPEG or DICOM.

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
import os
import sys
from typing import NamedTuple

import numpy as np

from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.imaging import codec
from boneage_jax.imaging import overlay
from boneage_jax.imaging import png
from boneage_jax.inference import film_file
from boneage_jax.inference import loading
from boneage_jax.inference import model_file
from boneage_jax.inference import net_inputs
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import reference as reference_lib
from boneage_jax.inference import tables

NOTICE = 'For research, not for diagnosis.'


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
  norm: Norm = NO_NORM,
) -> list[str]:
  """Predict and print films; return `FILM: reason` of those that were bad.

  The folder `out` gets predictions.csv (see `tables.row`) and a picture of
  every row, numbered.
  """
  bad, rows = [], []
  if out:
    os.makedirs(out, exist_ok=True)
  for path in paths:
    try:
      film = film_file.read(path)
      used = film_file.choose_sex(sex, film.sex)
      prediction = predictor.predict(
        film.with_polarity(predictor.inverted), used
      )
      prediction = prediction_lib.with_notes(prediction, film.notes)
      prediction = _compared(prediction, film.chronological_age, norm)
    except ValueError as e:
      bad.append(f'{path}: {e}')
      continue
    for text in _warnings(prediction, film.sex, predictor.inverted):
      print(f'warning: {path}: {text}', file=sys.stderr, flush=True)
    if norm.reference and prediction.sds is None:
      why = reference_lib.why_none(prediction, norm.reference)
      print(f'warning: {path}: {why}', file=sys.stderr, flush=True)
    print(f'{path}: {tables.format_line(prediction)}', flush=True)
    rows.append(tables.row(prediction, path))
    if out:  # numbered, as films in two folders may share a name
      name, _ = os.path.splitext(os.path.basename(path))
      with open(os.path.join(out, f'{len(rows):03d}_{name}.png'), 'wb') as f:
        f.write(png.encode(_picture(prediction)[..., ::-1]))
  if out and rows:
    tables.write(os.path.join(out, stages.PREDICTIONS), rows)
  return bad


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
  """Run the command; exits 1 when a film could not be predicted."""
  parser = argparse.ArgumentParser(description=f'Bone age of films. {NOTICE}')
  parser.add_argument('films', nargs='+', metavar='FILM', help='png, jpg, dcm')
  place = parser.add_mutually_exclusive_group(required=True)
  place.add_argument('--workdir', help='folder of a run')
  place.add_argument('--model', help='model file: a folder or a zip')
  parser.add_argument('--stage', default='', help='by default the reported one')
  parser.add_argument(
    '--sex', choices=list(groups.SEX), help='of all these films'
  )
  parser.add_argument('--out', help='folder for predictions.csv and overlays')
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
  args = parser.parse_args(argv)
  startup.set_up()
  try:
    if args.model:
      folder = model_file.open_model(args.model)
    else:
      folder = storage.absolute(args.workdir)
    table = reference_lib.read(args.reference) if args.reference else None
    predictor = loading.load(folder, args.stage, site=args.site)
    if args.dump_inputs:
      predictor.dump = net_inputs.Dump(predictor, folder, args.dump_inputs)
    print(predictor.basis.sentence, flush=True)
    norm = Norm(table, args.chronological_age)
    bad = predict_films(predictor, args.films, args.sex, args.out, norm)
  except (ValueError, OSError) as error:
    sys.exit(f'Error: {error}')
  if bad:
    head = f'{len(bad)} of {len(args.films)} films not predicted:'
    print(head, *bad, sep='\n  ', file=sys.stderr)
  print(NOTICE)
  sys.exit(1 if bad else 0)


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
