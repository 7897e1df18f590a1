"""Films in batches: read ahead by threads, predicted in order.

Decoding is the work of the threads, or of `codec_pool`'s processes, while the
nets are at another batch. What is held of a film is as large as those that nets
read.
"""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent import futures
import itertools
import os
from typing import Any
from typing import NamedTuple

from boneage_jax.core import door
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.imaging import two_hands
from boneage_jax.inference import film_file
from boneage_jax.inference import film_list
from boneage_jax.inference import one_film
from boneage_jax.inference import prediction as prediction_lib

FAULT = 'Cannot be predicted'  # of the machine, rather than of the film
AT_ONCE = 2  # batches: one is prepared while the nets read the other


class Answer(NamedTuple):
  """What came of a film.

  Attributes:
    film: that was to be read.
    file: what its file says, without pixels; None if it cannot be read.
    prediction: None if it is refused.
    reason: why it is refused, else ''.
    error: of the system, for which it could not be read; no fault of the film.
    known: numbers of `scalars.SCALARS` that anybody said of it.
  """

  film: film_list.Film
  file: film_file.FilmFile | None = None
  prediction: prediction_lib.Prediction | None = None
  reason: str = ''
  error: OSError | None = None
  known: Mapping[str, float] = one_film.NOTHING


class Read(NamedTuple):
  """A film that was read.

  Attributes:
    answer: what came of it so far.
    record: of `one_film.record`; None if it is refused.
  """

  answer: Answer
  record: dict[str, Any] | None


class Reading(NamedTuple):
  """How films are read.

  Attributes:
    archives: that hold them.
    sex: of films of which a table does not say it, in the place of their
      headers' sex; None for that.
    limits: of the size of a film.
    known: numbers of `scalars.SCALARS` of films of which a table does not say
      them, in the place of their headers'.
  """

  archives: film_list.Archives
  sex: str | None = None
  limits: limits_lib.Limits | None = None
  known: Mapping[str, float] = one_film.NOTHING


def predict(
  nets: Any, films: Iterable[film_list.Film], reading: Reading
) -> Iterator[Answer]:
  """Yield what nets say of films, in their order; no film ends it.

  Args:
    nets: a Predictor or an Ensemble.
    films: taken one by one, a few batches ahead.
    reading: of their files.
  """
  cores = os.cpu_count() or 1
  readers = futures.ThreadPoolExecutor(cores, 'films')
  # What nets read is written after each film, see `net_inputs`.
  threads = 1 if nets.dump else AT_ONCE
  runners = futures.ThreadPoolExecutor(threads, 'nets')
  start = lambda film: readers.submit(read, nets, film, reading)
  try:
    films = iter(films)
    ahead = collections.deque(
      map(start, itertools.islice(films, nets.batch_size + 2 * cores))
    )
    running: collections.deque[futures.Future] = collections.deque()
    batch: list[Read] = []
    while ahead:
      batch.append(ahead.popleft().result())
      ahead.extend(map(start, itertools.islice(films, 1)))
      full = sum(one.record is not None for one in batch) == nets.batch_size
      if full or not ahead:
        first = not running
        running.append(runners.submit(_answers, nets, batch))
        batch = []
        if first:  # alone, or the nets would be compiled twice
          futures.wait(running)
        if len(running) > AT_ONCE:
          yield from running.popleft().result()
    for last in running:
      yield from last.result()
  finally:
    for pool in (readers, runners):
      pool.shutdown(cancel_futures=True)


def read(nets: Any, film: film_list.Film, reading: Reading) -> Read:
  """Read and prepare a film; arguments as of `predict`."""
  answer = Answer(film)
  try:
    load = lambda: reading.archives.read(film, reading.limits)
    file = film_file.read(load, reading.limits)
    listed = film.listed.sex if film.listed else ''
    sex = film_file.choose_sex(listed or reading.sex, file.sex)
    image = file.with_polarity(nets.inverted)
    if film.side:
      image = two_hands.cut(image, film.side, nets.inverted)
    listed = film.listed.scalars if film.listed else {}
    known = {**file.scalars, **reading.known, **listed}
    answer = answer._replace(file=file._replace(image=None), known=known)
    return Read(answer, one_film.record(nets, image, sex, known))
  except ValueError as error:
    return Read(answer._replace(reason=str(error)), None)
  except Exception as error:  # such as memory that runs out
    system = error if isinstance(error, OSError) else None
    return Read(answer._replace(reason=_why(error), error=system), None)


def _answers(nets: Any, batch: list[Read]) -> list[Answer]:
  """Predict the films of a batch that were read."""
  readable = [one for one in batch if one.record is not None]
  if not readable:
    return [one.answer for one in batch]
  try:
    found = one_film.predict_records(nets, [one.record for one in readable])
  except Exception as error:
    if len(readable) > 1:  # one of them, perhaps
      return [one for single in batch for one in _answers(nets, [single])]
    reason = str(error) if isinstance(error, ValueError) else _why(error)
    found = [reason] * len(readable)
  answers, rest = [], iter(found)
  for one in batch:
    answer = one.answer
    if one.record is not None:
      said = next(rest)
      name = 'reason' if isinstance(said, str) else 'prediction'
      answer = answer._replace(**{name: said})
      if answer.prediction:
        file = answer.file
        noted = prediction_lib.with_notes(
          *(said, file.notes, file.flags), answer.known
        )
        answer = answer._replace(prediction=noted)
    answers.append(answer)
  return answers


def _why(error: Exception) -> str:
  reason = door.reason(error).removesuffix('.')
  return f'{FAULT}: {type(error).__name__}: {reason}.'
