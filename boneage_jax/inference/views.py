"""New films on the way out: cells of their rows, and what is printed."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import hashlib
import io
import json
import math
import os
import re

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import scalars
from boneage_jax.core import tables as tables_lib
from boneage_jax.data import film_table
from boneage_jax.data import groups
from boneage_jax.imaging import codec
from boneage_jax.imaging import overlay
from boneage_jax.inference import film_batches
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import quality
from boneage_jax.inference import tables

NOTICE = 'For research, not for diagnosis.'


def picture(prediction: prediction_lib.Prediction) -> np.ndarray:
  """Return the film with what was found on it, and what the age rests on."""
  lines = [tables.format_line(prediction)]
  lines += [prediction.basis.sentence] if prediction.basis else []
  # Some of them, such as the reason of a refusal, end in a full stop.
  text = ' '.join(f'{line.removesuffix(".")}.' for line in [*lines, NOTICE])
  return overlay.captioned(prediction.overlay, text)


def picture_name(name: str) -> str:
  """Return the name of a film's picture, which any file system takes.

  It ends with letters of all of the film's name, as films in two folders may
  share the last part of it.
  """
  base, _ = os.path.splitext(os.path.basename(name))
  base = re.sub(r'[\\/:*?"<>|]', '_', door.shown(base))
  short = base.encode()[:200].decode(errors='ignore')  # of 255 bytes
  return f'{short}_{hashlib.sha256(name.encode()).hexdigest()[:8]}.png'


def warnings(
  prediction: prediction_lib.Prediction,
  header_sex: str,
  inverted: bool,
  sentence: Callable[[str, bool], str] = quality.sentence,
) -> Iterator[str]:
  """Yield what a user should know before trusting a prediction.

  Args:
    prediction: of the film.
    header_sex: 'M', 'F' or 'unknown'.
    inverted: whether films of the run have dark bones.
    sentence: says what a flag means.
  """
  if header_sex not in ('unknown', prediction.sex):
    used = prediction.sex
    yield f'the header says sex {header_sex}; {used} was given and is used'
  for flag in prediction.quality_flags:
    if flag != 'region':  # said by name below
      yield sentence(flag, inverted)
  for note in prediction.notes:
    if note not in prediction.quality_flags:
      yield codec.NOTES[note]
  for name, region in prediction.regions.items():
    if not region.found:
      yield f'{name} was not found; the whole film stands in for it'
  if prediction.hand is not None:
    yield from tables.hand_warnings(prediction.hand)


def film_row(
  prediction: prediction_lib.Prediction,
  answer: film_batches.Answer,
  listed: bool,
) -> dict[str, str]:
  """Return `row` with what the film's file and a user's table say.

  Args:
    prediction: of the film.
    answer: that has it.
    listed: whether films come from a table.
  """
  cells = tables.row(prediction, answer.film.name)
  # Of numbers that a user has added to those that nets may read.
  for name in [name for name in scalars.SCALARS if name not in cells]:
    cells[name] = f'{answer.known[name]:.4f}' if name in answer.known else ''
  cells['sop_instance_uid'] = door.shown(answer.file.sop_instance_uid)
  if listed:
    said = told(answer.film.listed)
    cells |= {name: said.get(name, '') for name in ('age_true', 'group')}
  return cells


def told(listed: film_table.Listed | None) -> dict[str, str]:
  """Return what a user's table says of a film, as cells of its row."""
  if listed is None:
    return {}
  age = '' if listed.age_true is None else f'{listed.age_true:g}'
  numbers = {name: f'{x:.4f}' for name, x in listed.scalars.items()}
  sex = {'sex': listed.sex} if listed.sex else {}
  return {'age_true': age, 'group': listed.group, **sex, **numbers}


def columns(rows: Sequence[Mapping[str, str]]) -> tuple[np.ndarray, ...]:
  """Return true and predicted ages, sexes (`groups.SEX`) and groups, [N]."""
  months = lambda name: np.array([float(row[name]) for row in rows])
  return (
    *(months('age_true'), months('age_predicted')),
    groups.sex_number(row['sex'] for row in rows),
    np.array([row['group'] for row in rows]),
  )


class TextView:
  """A line for people."""

  is_text = True

  def lines(
    self, prediction: prediction_lib.Prediction, cells: Mapping[str, str]
  ) -> Iterator[str]:
    """Yield the lines of a film."""
    yield f'{cells["file"]}: {tables.format_line(prediction)}'


class CsvView:
  """Rows of predictions.csv, with the columns of the first."""

  is_text = False

  def __init__(self):
    """Know no columns yet."""
    self._columns: list[str] = []

  def lines(
    self, prediction: prediction_lib.Prediction, cells: Mapping[str, str]
  ) -> Iterator[str]:
    """Yield the lines of a film, before the first the header.

    Raises:
      ValueError: it has a column that the first film has not.
    """
    del prediction
    if not self._columns:
      self._columns = list(cells)
      yield _csv_line(self._columns)
    more = [name for name in cells if name not in self._columns]
    if more:
      raise ValueError(
        f'{cells["file"]} has the columns {", ".join(more)}, which the first '
        'film has not: print --format=jsonl, or take predictions.csv of --out.'
      )
    yield _csv_line(cells.get(name, '') for name in self._columns)


class JsonView:
  """A line of JSON for each film: the cells of its row that say something."""

  is_text = False

  def lines(
    self, prediction: prediction_lib.Prediction, cells: Mapping[str, str]
  ) -> Iterator[str]:
    """Yield the line of a film; ages are numbers, months."""
    del prediction
    yield json.dumps(
      {name: value(name, cell) for name, cell in cells.items() if cell != ''},
      ensure_ascii=False,
    )


VIEWS = {'text': TextView, 'csv': CsvView, 'jsonl': JsonView}
# Cells that stay text, whatever they hold.
_TEXTS = ('file', 'sop_instance_uid', 'group', 'picture', 'site', 'version')


def value(name: str, cell: str) -> str | float:
  """Return what a cell says: a number where it is one, such as months."""
  with contextlib.suppress(ValueError):
    if name not in _TEXTS and math.isfinite(float(cell)):
      return float(cell)
  return cell


def _csv_line(cells: Iterable[str]) -> str:
  line = io.StringIO()
  tables_lib.Writer(line).writerow(cells)
  return line.getvalue().removesuffix('\n')
