"""Elements of a DICOM header, of which few may stop a film.

What is void or damaged counts as absent, with a note (`codec.NOTES`).
"""

import math
from typing import Any


class Header:
  """A header, and what was odd about what was asked of it."""

  def __init__(self, dataset: Any):
    """Hold the dataset; `notes` has no name twice."""
    self.dataset = dataset
    self.notes: list[str] = []

  def note(self, name: str) -> None:
    """Remember what is odd."""
    if name not in self.notes:
      self.notes.append(name)

  def value(self, keyword: str) -> Any:
    """Return a value; None if it is absent, void or damaged."""
    try:
      value = self.dataset.get(keyword)
      return None if value is None or _is_void(value) else value
    except Exception:  # pydicom reads most of a header when it is asked
      return None

  def text(self, keyword: str, note: str = '') -> str:
    """Return a text without blanks around it; '' if there is none."""
    value = self.value(keyword)
    if note and self.is_damaged(keyword):  # void texts are legal
      self.note(note)
    return '' if value is None else str(value).strip()

  def numbers(self, keyword: str, note: str = '') -> list[float]:
    """Return one number or several; NaN where there is none."""
    value = self.value(keyword)
    if value is None:
      if self.is_there(keyword) and note:
        self.note(note)
      return [math.nan] if self.is_damaged(keyword) else []
    several = not isinstance(value, str | bytes) and hasattr(value, '__iter__')
    found = []
    for one in value if several else [value]:
      try:
        found.append(float(one))
      except (TypeError, ValueError, OverflowError):
        found.append(math.nan)
    if note and not all(map(math.isfinite, found)):
      self.note(note)
    return found

  def number(self, keyword: str, bad: float, note: str, absent: float) -> float:
    """Return a number; or what stands for a bad one, noted, or for none."""
    if not self.is_there(keyword):
      return absent
    found = self.numbers(keyword)
    if len(found) == 1 and math.isfinite(found[0]):
      return found[0]
    self.note(note)
    return bad

  def is_there(self, keyword: str) -> bool:
    """Whether the header has an element, whatever it holds."""
    try:
      return keyword in self.dataset
    except Exception:
      return False

  def is_void(self, keyword: str) -> bool:
    """Whether an element is there without a value."""
    there = self.is_there(keyword) and not self.is_damaged(keyword)
    return there and self.value(keyword) is None

  def is_damaged(self, keyword: str) -> bool:
    """Whether an element has a value that cannot be read."""
    try:
      self.dataset.get(keyword)
    except Exception:
      return True
    return False

  def needed(self, keyword: str, least: int = 0, most: int = 65535) -> int:
    """Return a whole number without which there are no pixels.

    Raises:
      ValueError: it is absent, void, or no such number.
    """
    value = self.value(keyword)
    if value is None:
      what = 'void or damaged' if self.is_there(keyword) else 'absent'
      raise ValueError(
        f'expected {keyword} in the DICOM header, which is {what}. Export the '
        'film again.'
      )
    try:
      number = int(value)
    except (TypeError, ValueError, OverflowError):
      number = -1
    if not least <= number <= most:
      raise ValueError(
        f'expected a whole number from {least} to {most} as {keyword}, found '
        f'{str(value)[:40]!r}. Export the film again.'
      )
    return number


def _is_void(value: Any) -> bool:
  if isinstance(value, bytes):
    return not value
  return not str(value).strip() or (
    hasattr(value, '__len__') and not len(value)
  )
