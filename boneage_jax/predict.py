"""Bone age of films, as PNG, JPEG or DICOM.

  python -m boneage_jax.predict --workdir=RUN FILM ... --sex=F [--out=DIR]

By the nets that the run reports, of a cross-validated run those of all folds;
with intervals once the run is calibrated (evaluate calibrate RUN).
Sex is M, F or unknown and never guessed: without --sex it must stand in the
DICOM header.
"""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import os
import sys
from typing import Any

import numpy as np

from boneage_jax.core import startup
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.imaging import boxes
from boneage_jax.imaging import codec
from boneage_jax.imaging import dicom
from boneage_jax.imaging import png
from boneage_jax.inference import intervals
from boneage_jax.inference import loading
from boneage_jax.report import charts
from boneage_jax.runs import run as run_lib

NOTICE = 'For research, not for diagnosis.'


def read_film(path: str) -> tuple[np.ndarray, str, bool]:
  """Return uint8 [H, W], the header's sex or 'unknown', whether it is DICOM."""
  try:
    with open(path, 'rb') as f:
      data = f.read()
    if data[128:132] != b'DICM':
      return codec.read(data)[0], 'unknown', False
    film = dicom.read(data)
  except ValueError:
    raise
  except Exception as e:  # decoders raise their own kinds on odd files
    reason = getattr(e, 'strerror', None) or f'{type(e).__name__}: {e}'
    raise ValueError(f'cannot be read: {reason}') from e
  return film['image'], film['sex'], True


def predict_films(
  predictor: loading.Either,
  films: Sequence[str],
  sex: str | None,
  out: str | None,
  calibrated: Mapping[str, Any] | None = None,
) -> list[str]:
  """Predict and print films; return `FILM: reason` of those that were bad.

  The folder `out` gets predictions.csv (months; doubts, why not to trust them;
  degrees by which the film lay, counter-clockwise, before it was turned back;
  the box of the film in its frame, and those of regions in fractions of the
  film without frame, turned back) and a picture of every row. `calibrated`, the
  content of calibration.json, adds intervals.
  """
  bad, rows = [], []
  if out:
    os.makedirs(out, exist_ok=True)
  for path in films:
    try:
      image, header_sex, is_dicom = read_film(path)
      if not sex and header_sex == 'unknown':
        raise ValueError('sex is not known; give --sex=M, F or unknown')
      used = sex or header_sex
      if header_sex not in ('unknown', used):
        _warn(f'{path}: the header says sex {header_sex}; --sex={used} is used')
      if is_dicom and predictor.inverted:  # dicom.read makes bones bright
        image = 255 - image
      result = predictor.predict(image, used)
    except ValueError as e:
      bad.append(f'{path}: {e}')
      continue
    for name in result['doubts']:
      _warn(f'{path}: {_doubt(name, predictor.inverted)}')
    age = result['age']
    found = [name for name, r in result['regions'].items() if r.found]
    interval = _interval(result, used, calibrated) if calibrated else {}
    line = f'{path}: {charts.years(max(age, 0))} ({age:.1f} months'
    line += (
      f', 90 %: {interval["lo90"]} to {interval["hi90"]})' if interval else ')'
    )
    if result['regions']:
      line += f', regions found: {", ".join(found) or "none"}'
    if result['frame'] != boxes.WHOLE_FILM:
      line += '; frame cut off'
    if result['turned']:
      line += f', turned back: it lay at {result["turned"]} degrees'
    print(line, flush=True)
    row = {'film': path, 'sex': used, 'age': f'{age:.4f}', **interval}
    row |= {'doubts': ' '.join(result['doubts']), 'turned': result['turned']}
    row |= {'regions': ' '.join(found), **_sides('frame', result['frame'])}
    for name, region in result['regions'].items():
      row |= _sides(name, region.box)
      if not region.found:
        _warn(f'{path}: {name} was not found; the whole film stands in for it')
    rows.append(row)
    if out:  # numbered, as films in two folders may share a name
      name, _ = os.path.splitext(os.path.basename(path))
      with open(os.path.join(out, f'{len(rows):03d}_{name}.png'), 'wb') as f:
        f.write(png.png(result['overlay'][..., ::-1]))
  if out and rows:
    path = os.path.join(out, 'predictions.csv')
    with open(path, 'w', newline='', encoding='utf-8') as f:
      writer = csv.DictWriter(f, list(rows[0]), lineterminator='\n')
      writer.writeheader()
      writer.writerows(rows)
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
    workdir = storage.absolute(args.workdir)
    stage = args.stage or run_lib.read_config(workdir).report.stage
    predictor = loading.load(workdir, stage)
    path = os.path.join(workdir, stage, 'calibration.json')
    calibrated = storage.read_json(path, {})
    bad = predict_films(predictor, args.films, args.sex, args.out, calibrated)
  except (ValueError, OSError) as error:
    sys.exit(f'Error: {error}')
  if bad:
    head = f'{len(bad)} of {len(args.films)} films not predicted:'
    print(head, *bad, sep='\n  ', file=sys.stderr)
  print(NOTICE)
  sys.exit(1 if bad else 0)


def _interval(
  result: Mapping[str, Any], sex: str, calibrated: Mapping[str, Any]
) -> dict[str, str]:
  film = {
    'prediction': np.array([result['age']]),
    'sex': np.array([groups.SEX[sex]]),
  }
  if result['probability'] is not None:
    film['probability'] = result['probability'][None].astype(np.float64)
  months = intervals.of_new_films(calibrated, film).reshape(-1)
  names = intervals.ends(calibrated['levels'])
  return {name: f'{m:.1f}' for name, m in zip(names, months, strict=True)}


def _sides(name: str, box: Sequence[float]) -> dict[str, str]:
  pairs = zip(boxes.COLUMNS[2:6], box, strict=True)
  return {f'{name}_{side}': f'{value:.6f}' for side, value in pairs}


def _doubt(name: str, inverted: bool) -> str:
  """Say why a film is not as those of a run; nothing is changed unasked."""
  if name == 'detail':
    return (
      'it is blurred, or has too few pixels, for the net that sees the whole '
      'film: do not trust this age. Take the film as it was first stored'
    )
  own, film = ('dark', 'bright') if inverted else ('bright', 'dark')
  setting = 'keep' if inverted else 'invert'
  return (
    f'the bones look {film}, but those of the films of this run are {own}: do '
    'not trust this age. Invert the film (255 - grey) and read it again; a run '
    f'for such films is trained with --config.STAGE.input.polarity={setting}'
  )


def _warn(text: str) -> None:
  print(f'warning: {text}', file=sys.stderr, flush=True)


if __name__ == '__main__':
  main()
