"""The page: one template, and files of its own that are kept in memory."""

import pathlib
from typing import Any
from typing import NamedTuple

import fastapi
import jinja2

from boneage_jax.core import scalars
from boneage_jax.data import groups
from boneage_jax.inference import views
from boneage_jax.serve import atlas
from boneage_jax.serve import refusals
from boneage_jax.serve import settings as settings_lib

HERE = pathlib.Path(__file__).parent
TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}
WORDS = {'M': 'Boy', 'F': 'Girl', 'unknown': 'Unknown'}


class _File(NamedTuple):
  content: bytes
  kind: str


def add(
  app: fastapi.FastAPI, nets: Any, settings: settings_lib.Settings
) -> None:
  """Add `/` and `/static` to an application.

  Args:
    app: gets the routes.
    nets: whose ages the page shows.
    settings: what is allowed, which the page says.
  """
  page, files = _render(nets, settings).encode(), _files()

  @app.get('/', include_in_schema=False)
  async def index() -> fastapi.Response:
    return fastapi.Response(page, media_type='text/html')

  @app.get('/static/{name}', include_in_schema=False)
  async def static(name: str) -> fastapi.Response:
    if name not in files:
      raise refusals.RefusedError(404, 'There is no such file.')
    headers = {'Cache-Control': 'no-cache'}
    return fastapi.Response(
      files[name].content, media_type=files[name].kind, headers=headers
    )


def _render(nets: Any, settings: settings_lib.Settings) -> str:
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / 'templates'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  both = {'M', 'F'} <= set(nets.sexes)
  sexes = [
    s for s in groups.SEX if (both if s == 'unknown' else s in nets.sexes)
  ]
  return environment.get_template('page.html').render(
    basis=nets.basis,
    calibrated=bool(nets.calibration),
    checked=nets.checks is not None,
    site=nets.site['site'] if nets.site else '',
    sexes=[(sex, WORDS[sex]) for sex in sexes],
    numbers={name: scalars.SCALARS[name] for name in nets.inputs},
    settings=settings,
    oldest=atlas.ages()[-1],
    near=atlas.NEAR,
    notice=views.NOTICE,
  )


def _files() -> dict[str, _File]:
  return {
    path.name: _File(path.read_bytes(), TYPES[path.suffix])
    for path in sorted((HERE / 'static').iterdir())
    if path.suffix in TYPES
  }
