"""New films on their way to rows, pictures and lines."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import sys
from typing import Any

import tqdm

from boneage_jax.core import door
from boneage_jax.imaging import png
from boneage_jax.inference import dicom_out
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_list
from boneage_jax.inference import loading
from boneage_jax.inference import reference as reference_lib
from boneage_jax.inference import row_file
from boneage_jax.inference import tables
from boneage_jax.inference import views


class Outlet:
  """What a command says of its films, and the rows that it writes; a context.

  Attributes:
    bad: `FILM: reason` of films without an age.
    rows: of the folder, None without one.
  """

  def __init__(
    self,
    predictor: loading.Either,
    films: Sequence[film_list.Film],
    out: str | None,
    view: str,
    norm: reference_lib.Norm,
    force: bool,
    objects: dicom_out.Objects | None = None,
  ):
    self.bad: list[str] = []
    self.rows: row_file.RowFile | None = None
    self._films, self._out, self._inverted = films, out, predictor.inverted
    self._view = views.VIEWS[view]()
    self._norm, self._force, self._objects = norm, force, objects
    self._seen: set[str] = set()  # names of films with a row of this command
    self._listed = any(film.listed for film in films)
    self._known: list[dict[str, str]] = []  # rows with a true age
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> 'Outlet':
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
    prediction = reference_lib.with_sds(prediction, self._norm.reference)
    prediction = dataclasses.replace(prediction, forced=self._force)
    if prediction.withheld:
      self.bad.append(f'{name}: {tables.format_line(prediction)}')
    said = list(views.warnings(prediction, answer.file.sex, self._inverted))
    if self._objects:
      try:
        self._objects.add(answer, prediction, said)
      except ValueError as error:
        said.append(str(error))
    for text in said:
      self._say(f'warning: {name}: {text}', sys.stderr)
    if self._norm.reference and prediction.sds is None:
      why = reference_lib.why_none(prediction, self._norm.reference)
      self._say(f'warning: {name}: {why}', sys.stderr)
    row = views.film_row(prediction, answer, self._listed)
    if self._out:
      row['picture'] = views.picture_name(name)
      with open(os.path.join(self._out, row['picture']), 'wb') as file:
        file.write(png.encode(views.picture(prediction)[..., ::-1]))
      self.rows.add(row)
      self._seen.add(name)
    elif row['age_true'] and row['age_predicted']:
      self._known.append(row)
    for line in self._view.lines(prediction, row):
      self._say(line, sys.stdout)

  def finish(self) -> list[dict[str, str]]:
    """Sort the rows; return those with a predicted and, listed, a true age."""
    known = self._known
    if self.rows is not None:
      names = [film.name for film in self._films]
      rows = self.rows.finish(names)
      known = [r for r in rows if r['age_true'] and r['age_predicted']]
      before = set(names) - self._seen
      self.bad += [
        f'{row["file"]}: refused, no age: {row["quality_flags"]}'
        for row in rows
        if not row['age_predicted'] and row['file'] in before
      ]
    self._bar.close()
    return known if self._listed else []

  def say_table(self, text: str) -> None:
    """Print a table, where it is not among rows for a program."""
    self._say(text, sys.stdout if self._view.is_text else sys.stderr)

  def _say(self, text: str, file: Any) -> None:
    self._bar.write(text, file)
    file.flush()
