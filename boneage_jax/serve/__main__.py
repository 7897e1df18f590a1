"""A web page and REST for bone ages, by the nets of a run.

  python -m boneage_jax.serve --workdir=RUN --port=8000
  curl -F file=@hand.png -F sex=F http://127.0.0.1:8000/predict

Open http://127.0.0.1:8000 in a browser. In the place of a run, --model=MODEL
takes what boneage_jax.export wrote. Only this machine reaches it, unless --host
names another address; then --token is needed, too. Nothing is stored.
"""

import argparse
from collections.abc import Sequence
import os
import signal
import socket
import sys

import cv2

from boneage_jax.core import door
from boneage_jax.core import optional
from boneage_jax.core import startup
from boneage_jax.imaging import codec_pool
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.inference import loading
from boneage_jax.inference import model_file
from boneage_jax.inference import views
from boneage_jax.serve import settings as settings_lib

PACKAGES = ('fastapi', 'uvicorn', 'python_multipart', 'jinja2')
TOKEN = 'BONEAGE_TOKEN'
LAST = 60  # seconds in which what runs is finished at the end
LOOPBACK = ('localhost', '127.0.0.1', '::1')


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command until it is stopped."""
  args = _parse(argv)
  with door.one_line_errors():
    optional.load('The server', 'web', *PACKAGES)
    _run(args, _settings(args))


def _settings(args: argparse.Namespace) -> settings_lib.Settings:
  """Return what is allowed.

  Raises:
    ValueError: others reach it, and there is no token.
  """
  token = args.token or os.environ.get(TOKEN, '')
  if args.host not in LOOPBACK and not token:
    raise ValueError(
      f'Expected --token=WORD (or {TOKEN}) with --host={args.host}: without it '
      'whoever reaches this machine can use it.'
    )
  names = [socket.gethostname(), args.host, *args.allowed_hosts.split(',')]
  beyond = args.host not in LOOPBACK
  return settings_lib.Settings(
    hosts=frozenset(n.strip().lower() for n in names if n.strip()),
    addresses=beyond,
    token=token,
    megapixels=args.max_megapixels,
    megabytes=args.max_megabytes,
    films=args.max_films,
    at_once=args.at_once,
  )


def _run(args: argparse.Namespace, settings: settings_lib.Settings) -> None:
  import uvicorn

  from boneage_jax.serve import app as app_lib
  from boneage_jax.serve import reader as reader_lib

  signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
  cv2.setNumThreads(1)  # films are the parallel unit
  bound = _bind(args.host, args.port)
  codec_pool.start()
  startup.set_up()
  startup.check_device()
  folder = model_file.folder_of(args.workdir, args.model)
  nets = loading.load(folder, args.stage, 1, args.site, args.dtype)
  reader = reader_lib.Reader(nets, limits_lib.Limits(settings.megapixels))
  try:
    reader.warm_up()
    bound.listen()  # whoever reads that it is ready may come at once
    door.say(nets.basis.sentence)
    if slow := loading.slow(folder, args.stage, args.dtype):
      door.say(slow)
    door.say(views.NOTICE)
    door.say(f'Ready: http://{_address(bound)} (Ctrl-C ends it)')
    app = app_lib.create(reader, settings, _log)
    config = uvicorn.Config(
      app,
      access_log=False,  # ours has no addresses of people
      log_level='warning',
      lifespan='off',
      ws='none',
      proxy_headers=False,
      server_header=False,
      timeout_graceful_shutdown=LAST,
    )
    uvicorn.Server(config).run(sockets=[bound])
  finally:
    reader.close()


def _bind(host: str, port: int) -> socket.socket:
  """Take a port before the nets are loaded; nobody is let in yet.

  Raises:
    OSError: it is taken, or the machine has no such address.
  """
  family, _, _, _, place = socket.getaddrinfo(
    host, port, type=socket.SOCK_STREAM
  )[0]
  bound = socket.socket(family, socket.SOCK_STREAM)
  if os.name == 'posix':
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  bound.bind(place)
  return bound


def _address(bound: socket.socket) -> str:
  host, port = bound.getsockname()[:2]
  return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def _log(line: str) -> None:
  print(door.shown(line), file=sys.stderr, flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m boneage_jax.serve',
    description=f'{__doc__}\n{views.NOTICE}',
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  model_file.add_flags(parser)
  parser.add_argument(
    '--host', default='127.0.0.1', help='address; 0.0.0.0 is all of them'
  )
  parser.add_argument('--port', type=int, default=8000, help='0 takes any')
  parser.add_argument(
    '--token', default='', help=f'word that requests must have; or in {TOKEN}'
  )
  parser.add_argument(
    '--allowed_hosts', default='', help='names of this machine: a.org,b.org'
  )
  parser.add_argument('--max_megapixels', type=float, default=64, help='a film')
  parser.add_argument(
    '--max_megabytes', type=float, default=64, help='a request'
  )
  parser.add_argument('--max_films', type=int, default=16, help='a request')
  parser.add_argument(
    '--at_once', type=int, default=16, help='requests; others get a 429'
  )
  args = parser.parse_args(argv)
  for name in ('max_films', 'at_once'):
    if getattr(args, name) < 1:
      parser.error(f'expected --{name} of 1 or more')
  return args


if __name__ == '__main__':
  main()
