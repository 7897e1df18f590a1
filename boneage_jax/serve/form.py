"""The form of a request, read into memory within limits."""

import asyncio
from collections.abc import AsyncIterator
import logging
import time
from typing import NamedTuple

from starlette import datastructures
from starlette import formparsers
from starlette import requests

from boneage_jax.core import door
from boneage_jax.core import scalars
from boneage_jax.data import groups
from boneage_jax.serve import refusals
from boneage_jax.serve import settings as settings_lib

SLOWEST = 50_000  # bytes a second
FIELDS = ('file', 'sex', 'pictures')
YES_NO = {'true': True, 'false': False}
TYPE = 'multipart/form-data'
# It would log letters of forms.
logging.getLogger('python_multipart').setLevel(logging.CRITICAL)


class Form(NamedTuple):
  """What was sent.

  Attributes:
    names: of the films, safe to show.
    films: their bytes.
    sexes: one a film, of `groups.SEX`.
    known: numbers of `scalars.SCALARS` that were sent, one dict a film.
    pictures: whether pictures are wanted.
  """

  names: list[str]
  films: list[bytes]
  sexes: list[str]
  known: list[dict[str, float]]
  pictures: bool


class _InMemory(formparsers.MultiPartParser):
  """Writes nothing to disk, as Starlette does from 1 MB on."""

  spool_max_size = 1 << 62


async def read(
  request: requests.Request, settings: settings_lib.Settings
) -> Form:
  """Read the form of a request.

  Raises:
    RefusedError: it is no form, too large, too slow or not as expected.
  """
  kind = request.headers.get('content-type', '').partition(';')[0].strip()
  if kind.lower() != TYPE:
    raise refusals.RefusedError(
      415,
      f'Expected a form of the type {TYPE}, got {door.shown(kind)!r}: send the '
      'films as its field file.',
    )
  length = request.headers.get('content-length', '')
  if length.isdecimal() and int(length) > settings.megabytes * 1e6:
    raise _too_large(settings)
  # One more of each than allowed, so that the sentence is ours.
  parser = _InMemory(
    request.headers,
    _within_limits(request, settings),
    max_files=settings.films + 1,
    max_fields=(1 + len(scalars.SCALARS)) * settings.films + len(FIELDS),
    max_part_size=1000,
  )
  try:
    found = await parser.parse()
  except formparsers.MultiPartException as error:
    raise _unreadable(error.message.rstrip('.')) from error
  try:
    return _form(found, settings)
  finally:
    await found.close()


async def _within_limits(
  request: requests.Request, settings: settings_lib.Settings
) -> AsyncIterator[bytes]:
  """Yield a body in pieces; its bytes are counted and its time is measured."""
  count, start = 0, time.monotonic()
  pieces = aiter(request.stream())
  while True:
    until = start + settings.body_seconds + count / SLOWEST
    try:
      async with asyncio.timeout(until - time.monotonic()):
        piece = await anext(pieces, None)
    except TimeoutError:
      raise refusals.RefusedError(
        408,
        f'The films came at less than {SLOWEST // 1000} kB a second: try a '
        'faster connection, or smaller files.',
        {'Connection': 'close'},
      ) from None
    if piece is None:
      return
    count += len(piece)
    if count > settings.megabytes * 1e6:
      raise _too_large(settings)
    yield piece


def _form(
  found: datastructures.FormData, settings: settings_lib.Settings
) -> Form:
  """Return a form whose fields are as expected."""
  for name in found:
    if name not in (*FIELDS, *scalars.SCALARS):
      raise _unreadable(f'unknown field {door.shown(name)[:100]!r}')
  files = found.getlist('file')
  if not files:
    raise _unreadable('no field file')
  if not all(isinstance(one, datastructures.UploadFile) for one in files):
    raise _unreadable('a field file without the name of a file')
  if len(files) > settings.films:
    raise _unreadable(f'more than {settings.films} films: send them in parts')
  # All is in memory, so that these files neither wait nor block.
  films = [one.file.read() for one in files]
  names = [door.shown(one.filename or '')[:200] for one in files]
  return Form(
    *(names, films, _sexes(_texts(found, 'sex'), len(films))),
    _known(found, len(films)),
    _yes_or_no(_texts(found, 'pictures')),
  )


def _texts(found: datastructures.FormData, name: str) -> list[str]:
  each = found.getlist(name)
  if not all(isinstance(one, str) for one in each):
    raise _unreadable(f'a file as the field {name}')
  return each


def _sexes(texts: list[str], count: int) -> list[str]:
  known = ', '.join(groups.SEX)
  for text in texts:
    if text not in groups.SEX:
      raise _unreadable(f'a sex of {door.shown(text)[:20]!r}, not of {known}')
  if len(texts) not in (1, count):
    raise _unreadable(
      f'{len(texts)} fields sex for {count} films: send one for all, or one '
      f'for each in their order ({known}); it is never guessed'
    )
  return texts * count if len(texts) == 1 else texts


def _known(
  found: datastructures.FormData, count: int
) -> list[dict[str, float]]:
  """Return the numbers of each film; a field is sent once, or once a film."""
  known: list[dict[str, float]] = [{} for _ in range(count)]
  for name, one in scalars.SCALARS.items():
    texts = _texts(found, name)
    if len(texts) not in (0, 1, count):
      raise _unreadable(f'{len(texts)} fields {name} for {count} films')
    texts = texts * count if len(texts) == 1 else texts
    for own, text in zip(known, texts or [''] * count, strict=True):
      if not text:  # of a film whose number is not known
        continue
      try:
        own[name] = float(text)
      except ValueError:
        own[name] = -1.0
      if not 0 <= own[name] <= one.most:
        raise _unreadable(
          f'{name} {door.shown(text)[:20]!r}, not a number of {one.unit} from '
          f'0 to {one.most:g}'
        )
  return known


def _yes_or_no(texts: list[str]) -> bool:
  if not texts:
    return False
  if len(texts) > 1 or texts[0] not in YES_NO:
    raise _unreadable('a field pictures that is neither true nor false')
  return YES_NO[texts[0]]


def _unreadable(found: str) -> refusals.RefusedError:
  return refusals.RefusedError(
    422,
    'Expected a form with file (one or more films), sex (once, or once a '
    f'film) and perhaps pictures (true or false), got {found}.',
  )


def _too_large(settings: settings_lib.Settings) -> refusals.RefusedError:
  return refusals.RefusedError(
    413,
    f'Expected at most {settings.megabytes:g} megabytes in a request, got '
    'more: send fewer films at a time, or smaller files.',
  )
