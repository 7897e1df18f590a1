"""Files that appear whole or not at all, whenever a run is killed."""

from collections.abc import Iterator
import contextlib
import json
import os
from typing import IO
from typing import Any


@contextlib.contextmanager
def replacing(path: str, mode: str = 'w') -> Iterator[IO]:
  """Open a file that takes the name `path` once it is written.

  Args:
    path: keeps its former content if the block raises or is killed.
    mode: 'w' (UTF-8, newlines as written) or 'wb'.
  """
  temporary = f'{path}.{os.getpid()}.tmp'  # processes may share a folder
  text = {} if 'b' in mode else {'newline': '', 'encoding': 'utf-8'}
  try:
    with open(temporary, mode, **text) as file:
      yield file
    os.replace(temporary, path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)


def write_json(path: str, values: Any, indent: int | None = None) -> None:
  """Write a JSON file in one step."""
  with replacing(path) as file:
    json.dump(values, file, indent=indent)
    file.write('\n')
