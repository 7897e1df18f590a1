r"""A DICOM node: it predicts films that it gets, and sends what it says.

  python -m boneage_jax.serve.dicom --workdir=RUN --port=11112 --aet=BONEAGE \
    --send_to=HOST:PORT:AET
  python -m boneage_jax.serve.dicom status [--folder=DIR]
  python -m boneage_jax.serve.dicom retry [--folder=DIR]

It takes CR, DX (for presentation) and Secondary Capture images. Of each film of
a hand it sends a structured report and a picture, of a refused one the reason.
What it has to do lies in a folder: a node that is stopped or killed goes on
with the same command. `status` lists what waits and what was given up, and
`retry` has that tried again. Both work while the node runs.

For research, not for diagnosis.
"""

import argparse
from collections.abc import Sequence
import os
import re
import sys

from boneage_jax.core import door
from boneage_jax.core import extend
from boneage_jax.serve.dicom import folder as folder_lib
from boneage_jax.serve.dicom import node
from boneage_jax.serve.dicom import receive
from boneage_jax.serve.dicom import send
from boneage_jax.serve.dicom import status

FOLDER = 'dicom_node'
TITLE = re.compile(r'[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?')  # PS3.5, 6.2


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command; `status` exits with 1 where something was given up."""
  args = _parse(argv)
  with door.one_line_errors():
    if args.command != 'run':
      sys.exit(_look(args))
    receive.import_pynetdicom()
    task = {
      'workdir': args.workdir,
      'model': args.model,
      'stage': args.stage,
      'site': args.site,
      'dtype': args.dtype,
      'imports': args.imports,
      'limits': (args.max_megapixels, args.max_megabytes),
    }
    node.run(
      folder_lib.Folder(args.folder),
      task,
      (args.address, args.port, args.aet, args.allow),
      args.send_to,
      args.give_up_hours,
    )


def _look(args: argparse.Namespace) -> int:
  if not os.path.isdir(args.folder):
    raise ValueError(
      f'Expected the folder of a node, found none at {args.folder}: name it '
      'with --folder, as for the node itself.'
    )
  folder = folder_lib.Folder(args.folder)
  if args.command == 'retry':
    print(f'{folder.revive()} are tried again.')
    return 0
  for line in status.lines(folder):
    print(line)
  return int(any(folder.dead()))


def _peer(text: str) -> send.Peer:
  host, port, title = ['', '', '', *text.rsplit(':', 2)][-3:]
  if not (host and port.isdecimal() and 0 < int(port) < 65536):
    raise argparse.ArgumentTypeError(f'expected HOST:PORT:AET, got {text!r}')
  return send.Peer(host, int(port), _title(title))


def _title(text: str) -> str:
  if not TITLE.fullmatch(text):
    raise argparse.ArgumentTypeError(
      f'expected an AE title of 1 to 16 plain letters, got {text!r}'
    )
  return text


def _titles(text: str) -> list[str]:
  return [_title(one) for one in text.split(',')]


def _port(text: str) -> int:
  if not (text.isdecimal() and 0 < int(text) < 65536):
    raise argparse.ArgumentTypeError(f'expected 1 to 65535, got {text!r}')
  return int(text)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m boneage_jax.serve.dicom',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('command', nargs='?', choices=('run', 'status', 'retry'), default='run')
  add('--folder', default=FOLDER, help=f'of the node; by default {FOLDER}')
  add('--workdir', default='', help='folder of a run')
  add('--model', default='', help='model file, in the place of a run')
  add('--stage', default='', help='by default the reported one')
  add('--site', default='', help='of evaluate adapt')
  add('--dtype', choices=('float32', 'bfloat16'), default='', help='of nets')
  add('--address', default='', help='to listen at; by default all of this host')
  add('--port', type=_port, default=11112, help='to listen at')
  add('--aet', type=_title, default='BONEAGE', help='AE title of the node')
  add('--allow', type=_titles, default=[], help='AE titles that may send: A,B')
  add('--send_to', type=_peer, help='who gets what it says: HOST:PORT:AET')
  add('--give_up_hours', type=float, default=72, help='of what is not taken')
  add('--max_megapixels', type=float, default=64, help='a film')
  add('--max_megabytes', type=float, default=512, help='a film')
  extend.add_flag(parser)
  args = parser.parse_args(argv)
  if args.command == 'run':
    if bool(args.workdir) == bool(args.model):
      parser.error('expected --workdir or --model, and not both')
    if not args.send_to:
      parser.error('expected --send_to=HOST:PORT:AET')
  return args


if __name__ == '__main__':
  main()
