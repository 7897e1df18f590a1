"""Films of a request to predictions: decoders, and one thread of the nets."""

import asyncio
from collections.abc import Mapping
from concurrent import futures
from typing import Any
from typing import NamedTuple

from boneage_jax.core import scalars
from boneage_jax.imaging import codec
from boneage_jax.imaging import codec_pool
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.imaging import png
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_file
from boneage_jax.inference import film_list
from boneage_jax.inference import one_film
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.phantom import render
from boneage_jax.serve import answers
from boneage_jax.serve import form as form_lib
from boneage_jax.serve import refusals

DECODERS = 4  # one that works on a bomb leaves three for others


class _Prepared(NamedTuple):
  answer: film_batches.Answer
  record: dict[str, Any]


class Reader:
  """Predicts films; its coroutines belong to one event loop.

  Every film, of any format, is decoded in a process of `codec_pool`, which ends
  with a film that crashes it, hangs or takes too much memory.
  """

  def __init__(self, nets: Any, limits: limits_lib.Limits):
    """Take loaded nets."""
    self.nets, self._limits = nets, limits
    self._decoders = futures.ThreadPoolExecutor(DECODERS, 'films')
    self._thread = futures.ThreadPoolExecutor(1, 'nets')

  async def read(self, form: form_lib.Form) -> list[dict[str, Any]]:
    """Return the answers to the films of a form, in their order.

    Raises:
      RefusedError: a film cannot be read; names it.
    """
    prepared = await asyncio.gather(
      *(
        run(self._decoders, self._prepare, *film)
        for film in zip(
          *(form.names, form.films, form.sexes, form.known), strict=True
        )
      )
    )
    form.films.clear()  # as large as they are
    return [await self._answer(one, form.pictures) for one in prepared]

  def warm_up(self) -> None:
    """Predict a phantom, so that the first film finds all compiled.

    Raises:
      ValueError: the nets fail.
      OSError: no process decodes.
    """
    image = render.make_film(0, 0, {'long_side': 512})['image']
    both = set(one_film.SEXES) <= set(self.nets.sexes)
    sex = 'unknown' if both else self.nets.sexes[0]
    known = scalars.typical(self.nets.inputs)
    prepared = self._prepare('phantom', png.encode(image), sex, known)
    self._thread.submit(self._predict, prepared.record, True).result()

  def close(self) -> None:
    """Wait for what runs."""
    for pool in (self._decoders, self._thread):
      pool.shutdown()

  async def _answer(self, one: _Prepared, pictures: bool) -> dict[str, Any]:
    said = await run(self._thread, self._predict, one.record, pictures)
    return await run(
      self._decoders, answers.of, one.answer, said, self.nets.inverted
    )

  def _prepare(
    self, name: str, data: bytes, sex: str, known: Mapping[str, float]
  ) -> _Prepared:
    """Read a film."""
    if not codec.is_film(data[: film_list.HEAD]):
      raise refusals.RefusedError(
        415, f'{name}: expected PNG, JPEG, DICOM, TIFF or BMP.'
      )
    wanted = one_film.SEXES if sex == 'unknown' else (sex,)
    if not set(wanted) <= set(self.nets.sexes):
      known = ' or '.join(s for s in one_film.SEXES if s in self.nets.sexes)
      raise refusals.RefusedError(
        422,
        f'{name}: expected the sex {known}, as these nets have seen no other '
        f'films, got {sex}.',
      )
    try:
      file = film_file.read(lambda: data, self._limits, codec_pool.read)
      image = file.with_polarity(self.nets.inverted)
      known = {**file.scalars, **known}
      record = one_film.record(self.nets, image, sex, known)
    except limits_lib.TooLargeError as error:
      raise refusals.RefusedError(
        413, f'{name}: {error.fact} Send a smaller picture of it.'
      ) from error
    except ValueError as error:
      raise refusals.RefusedError(422, f'{name}: {error}') from error
    answer = film_batches.Answer(
      *(film_list.Film(name, ''), file._replace(image=None)), known=known
    )
    return _Prepared(answer, record)

  def _predict(
    self, record: dict[str, Any], pictures: bool
  ) -> prediction_lib.Prediction:
    return one_film.predict_records(self.nets, [record], pictures)[0]


async def run(pool: futures.Executor, call: Any, *arguments: Any) -> Any:
  """Call a function in another thread."""
  return await asyncio.get_running_loop().run_in_executor(
    pool, call, *arguments
  )
