"""Bone age of films, as PNG, JPEG or DICOM.

  python -m boneage_jax.predict --workdir=RUN FILM ... --sex=F [--out=DIR]

By the nets that the run reports, of a cross-validated run those of all folds;
with intervals once the run is calibrated (evaluate calibrate RUN).
Sex is M, F or unknown and never guessed: without --sex it must stand in the
DICOM header.
"""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import os
import sys

from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.imaging import codec
from boneage_jax.imaging import png
from boneage_jax.inference import film_file
from boneage_jax.inference import loading
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import tables

NOTICE = 'For research, not for diagnosis.'


def predict_films(
  predictor: loading.Either,
  paths: Sequence[str],
  sex: str | None,
  out: str | None,
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
    except ValueError as e:
      bad.append(f'{path}: {e}')
      continue
    for text in _warnings(prediction, film.sex, predictor.inverted):
      print(f'warning: {path}: {text}', file=sys.stderr, flush=True)
    print(f'{path}: {tables.format_line(prediction)}', flush=True)
    rows.append(tables.row(prediction, path))
    if out:  # numbered, as films in two folders may share a name
      name, _ = os.path.splitext(os.path.basename(path))
      with open(os.path.join(out, f'{len(rows):03d}_{name}.png'), 'wb') as f:
        f.write(png.encode(prediction.overlay[..., ::-1]))
  if out and rows:
    tables.write(os.path.join(out, stages.PREDICTIONS), rows)
  return bad


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command; exits 1 when a film could not be predicted."""
  parser = argparse.ArgumentParser(description=f'Bone age of films. {NOTICE}')
  parser.add_argument('films', nargs='+', metavar='FILM', help='png, jpg, dcm')
  parser.add_argument('--workdir', required=True, help='folder of a run')
  parser.add_argument('--stage', default='', help='by default the reported one')
  parser.add_argument(
    '--sex', choices=list(groups.SEX), help='of all these films'
  )
  parser.add_argument('--out', help='folder for predictions.csv and overlays')
  args = parser.parse_args(argv)
  startup.set_up()
  try:
    predictor = loading.load(storage.absolute(args.workdir), args.stage)
    bad = predict_films(predictor, args.films, args.sex, args.out)
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
