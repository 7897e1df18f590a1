"""Predictions of new films as lines of text and rows of predictions.csv."""

from collections.abc import Mapping
from collections.abc import Sequence
import csv

from boneage_jax.core import storage
from boneage_jax.imaging import boxes
from boneage_jax.inference import prediction as prediction_lib


def years(age: float) -> str:
  """Write months as years and months, as '10 y 6 mo'."""
  months = round(age)
  return f'{months // 12} y {months % 12} mo'


def format_line(prediction: prediction_lib.Prediction) -> str:
  """Say in one line what was found."""
  age = prediction.age_predicted
  line = f'{years(max(age, 0))} ({age:.1f} months'
  if prediction.lo90 is not None:
    line += f', 90 %: {prediction.lo90:.1f} to {prediction.hi90:.1f}'
  line += ')'
  if prediction.regions:
    line += f', regions found: {", ".join(found(prediction)) or "none"}'
  if prediction.film_box != boxes.WHOLE_FILM:
    line += '; border cropped'
  if prediction.rotation_deg:
    line += f'; was rotated by {prediction.rotation_deg} degrees, turned back'
  return line


def row(prediction: prediction_lib.Prediction, file: str) -> dict[str, str]:
  """Return a row of predictions.csv, by column.

  The first columns are those of every predictions.csv, `file` in the place of
  the id. Nobody knows the split and the true age of a new film, and only a
  calibrated run has intervals: those cells are empty. Months; boxes in
  fractions, see `Prediction`.
  """
  ends = {'lo90': '', 'hi90': ''}
  for level, (low, high) in prediction.intervals.items():
    ends |= {f'lo{level}': f'{low:.1f}', f'hi{level}': f'{high:.1f}'}
  cells = {
    'file': file,
    'split': '',
    'sex': prediction.sex,
    'age_true': '',
    'age_predicted': f'{prediction.age_predicted:.4f}',
    'lo90': ends.pop('lo90'),
    'hi90': ends.pop('hi90'),
    'status': prediction.status,
    'quality_flags': ' '.join(prediction.quality_flags),
    **ends,
    'file_notes': ' '.join(prediction.notes),
    'rotation_deg': str(prediction.rotation_deg),
    'regions': ' '.join(found(prediction)),
    **_sides('film', prediction.film_box),
  }
  for name, region in prediction.regions.items():
    cells |= _sides(name, region.box)
  return cells


def found(prediction: prediction_lib.Prediction) -> list[str]:
  """Name the regions that were found; the whole film stands for the others."""
  return [name for name, region in prediction.regions.items() if region.found]


def write(path: str, rows: Sequence[Mapping[str, str]]) -> None:
  """Write predictions.csv of rows that have the same columns."""
  with storage.replacing(path) as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


def _sides(name: str, box: Sequence[float]) -> dict[str, str]:
  pairs = zip(boxes.COLUMNS[2:6], box, strict=True)
  return {f'{name}_{side}': f'{value:.6f}' for side, value in pairs}
