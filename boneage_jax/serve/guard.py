"""What sees every request first: who may ask, what is answered, what is logged.

A line of the log has the method, the address as the program knows it, the
status and the time: no name of a film, no query, nothing of a body.
"""

import base64
import binascii
from collections.abc import Callable
import hmac
import ipaddress
import time
import traceback
from typing import Any

from starlette import datastructures
from starlette import requests
from starlette import responses

from boneage_jax.serve import refusals
from boneage_jax.serve import settings as settings_lib

OPEN = ('/health',)  # without a token, for programs that watch servers
HEADERS = {
  'Content-Security-Policy': (
    "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
  ),
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}


class Guard:
  """Wraps an ASGI application."""

  def __init__(
    self,
    app: Any,
    settings: settings_lib.Settings,
    say: Callable[[str], None],
  ):
    """Say lines of the log with `say`."""
    self._app, self._settings, self._say = app, settings, say

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    """Answer a request."""
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    start, status = time.monotonic(), 0

    async def answer(message):
      nonlocal status
      if message['type'] == 'http.response.start':
        status = message['status']
        headers = datastructures.MutableHeaders(scope=message)
        for name, value in HEADERS.items():
          headers[name] = value
        headers.setdefault('Cache-Control', 'no-store')
      await send(message)

    try:
      self._check(datastructures.Headers(scope=scope), scope['path'])
      await self._app(scope, receive, answer)
    except refusals.RefusedError as error:
      await refusal(error)(scope, receive, answer)
    except requests.ClientDisconnect:
      status = 499  # as others log it: nobody is there to be answered
    except Exception as error:
      self._say(_fault(error))
      if not status:
        await refusal(refusals.FAULT)(scope, receive, answer)
    finally:
      route = getattr(scope.get('route'), 'path', '-')
      seconds = time.monotonic() - start
      self._say(f'{scope["method"]} {route} {status} {seconds:.2f} s')

  def _check(self, headers: datastructures.Headers, path: str) -> None:
    """Refuse who may not ask.

    Raises:
      RefusedError: another host, another site's page, or no token.
    """
    host = headers.get('host', '')
    if not self._is_ours(_name(host)):
      raise refusals.RefusedError(
        400,
        'Expected the name of this machine in the address. If it is one, '
        'whoever started the server can allow it.',
      )
    origin = headers.get('origin')
    if origin is not None and origin.partition('://')[2] != host:
      raise refusals.RefusedError(
        403, "Expected a request of this server's own page, got another site's."
      )
    token = self._settings.token
    if token and path not in OPEN and not _matches(headers, token):
      raise refusals.RefusedError(
        401,
        'Expected the token of this server, as the password or as a Bearer.',
        {'WWW-Authenticate': 'Basic realm="boneage_jax", charset="UTF-8"'},
      )

  def _is_ours(self, name: str) -> bool:
    if name in settings_lib.LOOPBACK or name in self._settings.hosts:
      return True
    try:  # a site that points its name here cannot make it a number
      return self._settings.addresses and bool(
        ipaddress.ip_address(name.strip('[]'))
      )
    except ValueError:
      return False


def refusal(error: refusals.RefusedError) -> responses.JSONResponse:
  """Return the answer to a refused request."""
  return responses.JSONResponse(
    {'detail': error.reason}, error.status, headers=dict(error.headers)
  )


def _name(host: str) -> str:
  """Return the name of a header Host without the port."""
  if host.startswith('['):
    return f'{host.partition("]")[0]}]'.lower()
  return host.partition(':')[0].lower()


def _matches(headers: datastructures.Headers, token: str) -> bool:
  """Whether a request has the token, as a Bearer or as a password."""
  kind, _, word = headers.get('authorization', '').partition(' ')
  given = word.strip().encode('latin-1')
  if kind.lower() == 'basic':
    try:
      given = base64.b64decode(given, validate=True).partition(b':')[2]
    except binascii.Error:
      return False
  elif kind.lower() != 'bearer':
    return False
  return hmac.compare_digest(given, token.encode())


def _fault(error: Exception) -> str:
  """Say where a fault of ours lies; its words may be of a film."""
  frames = traceback.extract_tb(error.__traceback__)
  place = f'{frames[-1].filename}:{frames[-1].lineno}' if frames else ''
  return f'fault: {type(error).__name__} at {place}'
