"""The addresses of the server."""

from collections.abc import Callable
from concurrent import futures
from typing import Any

import fastapi
from fastapi import exceptions
import jax

import boneage_jax
from boneage_jax.serve import atlas
from boneage_jax.serve import form as form_lib
from boneage_jax.serve import gate as gate_lib
from boneage_jax.serve import guard
from boneage_jax.serve import page
from boneage_jax.serve import reader as reader_lib
from boneage_jax.serve import refusals
from boneage_jax.serve import schema
from boneage_jax.serve import settings as settings_lib

AT_ONCE_ATLAS = 8  # requests; phantoms are drawn one after the other


def create(
  reader: reader_lib.Reader,
  settings: settings_lib.Settings,
  say: Callable[[str], None],
) -> guard.Guard:
  """Return the ASGI application.

  Args:
    reader: of films.
    settings: what is allowed.
    say: takes lines of the log.
  """
  app = fastapi.FastAPI(
    title='boneage_jax',
    description=schema.DESCRIPTION,
    version=boneage_jax.__version__,
    docs_url=None,  # these pages load from another host
    redoc_url=None,
  )
  app.exception_handler(refusals.RefusedError)(_refuse)
  app.exception_handler(exceptions.RequestValidationError)(_misread)
  app.exception_handler(Exception)(_fail)
  gate = gate_lib.Gate(settings.at_once)

  @app.post(
    '/predict',
    summary='Assess films',
    response_model=list[schema.Film],
    responses=schema.responses(400, 401, 403, 408, 413, 415, 422, 429, 500),
    openapi_extra=schema.PREDICT,
  )
  async def predict(request: fastapi.Request) -> fastapi.Response:
    with gate.enter():
      form = await form_lib.read(request, settings)
      return fastapi.responses.JSONResponse(await reader.read(form))

  @app.get(
    '/health', summary='Whether it answers', response_model=schema.Health
  )
  async def health() -> dict[str, Any]:
    return {'status': 'ok', 'waiting': gate.inside}

  @app.get(
    '/version',
    summary='What ages rest on',
    response_model=schema.Version,
    responses=schema.responses(400, 401),
  )
  async def version() -> dict[str, Any]:
    return about(reader.nets, settings)

  atlas_gate = gate_lib.Gate(AT_ONCE_ATLAS)
  drawing = futures.ThreadPoolExecutor(1, 'atlas')

  async def drawn(sex: str, months: int) -> atlas.Phantom:
    if sex not in atlas.SEXES or months not in atlas.ages():
      raise refusals.RefusedError(
        422,
        f'Expected a sex of {" or ".join(atlas.SEXES)} and a whole number of '
        f'months from {atlas.ages()[0]} to {atlas.ages()[-1]}.',
      )
    with atlas_gate.enter():
      return await reader_lib.run(drawing, atlas.phantom, sex, months)

  @app.get(
    '/atlas/{sex}/{months}',
    summary='What changes about a bone age',
    response_model=list[schema.Change],
    responses=schema.responses(400, 401, 422, 429),
  )
  async def changes(sex: schema.AtlasSex, months: schema.Months) -> Any:
    return (await drawn(sex, months)).changes

  @app.get(
    '/atlas/{sex}/{months}/hand.png',
    summary='A phantom of a bone age',
    response_class=fastapi.Response,
    responses={
      200: {'content': {'image/png': {}}},
      **schema.responses(400, 401, 422, 429),
    },
  )
  async def hand(sex: schema.AtlasSex, months: schema.Months) -> Any:
    png = (await drawn(sex, months)).png
    headers = {'Cache-Control': 'private, max-age=3600'}
    return fastapi.Response(png, media_type='image/png', headers=headers)

  page.add(app, reader.nets, settings)
  return guard.Guard(app, settings, say)


async def _refuse(
  request: fastapi.Request, error: refusals.RefusedError
) -> fastapi.Response:
  del request
  return guard.refusal(error)


async def _misread(
  request: fastapi.Request, error: exceptions.RequestValidationError
) -> fastapi.Response:
  """Say what is wrong with an address."""
  del request
  said = '; '.join(f'{e["loc"][-1]}: {e["msg"]}' for e in error.errors())
  return guard.refusal(refusals.RefusedError(422, said))


async def _fail(request: fastapi.Request, error: Exception) -> fastapi.Response:
  """Say no more than that; `Guard` logs where."""
  del request, error
  return guard.refusal(refusals.FAULT)


def about(nets: Any, settings: settings_lib.Settings) -> dict[str, Any]:
  """Say what ages rest on and what is allowed; see `schema.Version`."""
  basis = nets.basis
  return {
    'version': boneage_jax.__version__,
    'jax': jax.__version__,
    'method': basis.method,
    'trained_on': basis.trained_on,
    'synthetic': basis.synthetic,
    'sexes': list(nets.sexes),
    'inputs': list(nets.inputs),
    'calibrated': bool(nets.calibration),
    'quality_checks': nets.checks is not None,
    'site': nets.site['site'] if nets.site else None,
    'limits': {
      'megapixels': settings.megapixels,
      'megabytes': settings.megabytes,
      'films': settings.films,
      'at_once': settings.at_once,
    },
  }
