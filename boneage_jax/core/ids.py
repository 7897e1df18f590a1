"""Ids of films: text in every file, and the number that seeds their draws."""

import hashlib
import re

_WHOLE = re.compile('[0-9]+')
_NUMBER = re.compile(r'0*([0-9]+)(\.0+)?')
_IMAGE = re.compile(r'\.(png|jpe?g|dcm|tiff?|bmp)$', re.IGNORECASE)


def normalize(text: str) -> str:
  """Return the id that a cell of a table or the name of a film means.

  `4`, `0004`, `4.0` and `0004.png` are `4`; other text keeps its form, without
  the extension of an image.

  Raises:
    ValueError: no text, or a slash, comma, space or control character in it.
  """
  name = _IMAGE.sub('', text.strip())
  if not name:
    raise ValueError(f'Expected the id of a film, got {text!r}.')
  match = _NUMBER.fullmatch(name)
  if match:
    return match.group(1)
  if re.search(r'[\s,/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]', name):
    raise ValueError(
      f'Expected an id without spaces, commas and slashes, got {text!r}.'
    )
  return name


def number(film: str) -> int:
  """Return the whole number that seeds what a film draws.

  A film's draws do not change when other films come or go: a whole number is
  itself, other text the first 8 bytes of its SHA-256.
  """
  if _WHOLE.fullmatch(film):
    return int(film)
  return int.from_bytes(hashlib.sha256(film.encode()).digest()[:8], 'big')


def sort_key(film: str) -> tuple[bool, int, str]:
  """Return what sorts ids for a reader: whole numbers by value, then text."""
  is_text = not _WHOLE.fullmatch(film)
  return is_text, 0 if is_text else int(film), film
