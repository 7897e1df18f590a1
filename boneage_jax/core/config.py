"""The flag --config=FILE[:VARIANT] with its overrides; configs of past runs."""

import json
import sys
from typing import Any

from absl import app
from absl import flags
import ml_collections
from ml_collections import config_flags

from boneage_jax.core import storage
from configs import common

FLAGS = flags.FLAGS
DEFAULT = 'configs/cascade.py'
# No earlier version lacked them, and one net's fields are not another's.
NEVER_FILLED = ('net', 'loss', 'pretrained')


def define() -> None:
  """Define the flag; its overrides, --config.a.b=VALUE, come with it."""
  config_flags.DEFINE_config_file(
    'config',
    None,  # A default would be read on import, where no error can be caught.
    'File that describes the system: FILE[:VARIANT,...][,PRESET] '
    f'(default: {DEFAULT}).',
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
  except (OSError, ValueError) as error:
    sys.exit(f'Error: {error}')


def read_config(path: str) -> ml_collections.ConfigDict:
  """Read the config.json of a run, by an earlier version, too.

  Fields that came since get the usual value of their section, which leaves
  things as they were; a line on stderr names them.
  """
  with storage.reading(path) as file:
    config = json.load(file)
  added = _fill(config, common.base('', '').to_dict())
  usual = {
    'train': ml_collections.ConfigDict(common.train_stage()).to_dict(),
    'locate': ml_collections.ConfigDict(common.locate_stage()).to_dict(),
  }
  for name, section in config.items():
    job = section.get('job') if isinstance(section, dict) else None
    added += _fill(section, usual.get(job, {}), f'{name}.')
  if added:
    print(
      f'{path} is of an earlier version; it gets the usual values of '
      f'{", ".join(added)}.',
      file=sys.stderr,
      flush=True,
    )
  return ml_collections.ConfigDict(config)


def _fill(section: Any, usual: dict[str, Any], path: str = '') -> list[str]:
  """Add what is missing, in place; return the names."""
  added = []
  for key, value in usual.items():
    if key in NEVER_FILLED:
      continue
    if key not in section:
      section[key] = value
      added.append(path + key)
    elif isinstance(value, dict):
      added += _fill(section[key], value, f'{path}{key}.')
  return added
