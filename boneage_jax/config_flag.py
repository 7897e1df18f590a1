"""The flag --config=FILE[:VARIANT] with its overrides, for every command."""

import sys

from absl import app
from absl import flags
from ml_collections import config_flags

FLAGS = flags.FLAGS
DEFAULT = 'configs/cascade.py'


def define() -> None:
  """Define the flag; its overrides, --config.a.b=VALUE, come with it."""
  config_flags.DEFINE_config_file(
    'config',
    None,  # A default would be read on import, where no error can be caught.
    f'File that describes the system, with an optional :variant ({DEFAULT}).',
    lock_config=True,
  )


def parse(argv: list[str]) -> list[str]:
  """Parse flags; what the config does not have is said without a traceback."""
  if not any(a.lstrip('-').split('=')[0] == 'config' for a in argv[1:]):
    argv = [argv[0], f'--config={DEFAULT}', *argv[1:]]
  try:
    rest = app.parse_flags_with_usage(argv)
    FLAGS.config.name  # noqa: B018, raises where the file could not be read
    return rest
  except (AttributeError, KeyError) as error:
    inner = error.args[0]  # An AttributeError here wraps a KeyError.
    text = inner.args[0] if isinstance(inner, KeyError) else inner
    sys.exit(f'Error: the config has no field {text}')
  except OSError as error:
    sys.exit(f'Error: {error}')
