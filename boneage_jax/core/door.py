"""What every command does at its door: errors in one line, names made safe."""

from collections.abc import Iterator
import contextlib
import errno
import re
import sys
import threading

from absl import logging

# What a user can do about an error of the system.
REMEDIES = {
  errno.ENOSPC: 'free some space, or write elsewhere',
  errno.EDQUOT: 'free some space, or write elsewhere',
  errno.EFBIG: 'raise the limit, or write elsewhere',
  errno.EROFS: 'write to a folder that is yours',
  errno.EACCES: 'ask for the right, or name a folder that is yours',
  errno.EPERM: 'ask for the right, or name a folder that is yours',
  errno.ENOENT: 'look at the name, and at what a link points to',
  errno.ENOTDIR: 'a part of it is a file: name a folder',
  errno.EEXIST: 'it is a file: name a folder',
  errno.EISDIR: 'it is a folder: name a file',
  errno.ENAMETOOLONG: 'give it a shorter name',
  errno.EADDRINUSE: 'another program has it: choose another --port',
  errno.EADDRNOTAVAIL: 'no address of this machine: choose another --host',
  errno.ELOOP: 'remove the links that point to each other',
}
LONGEST = 300  # letters of what a library says
# Control characters, which a terminal obeys; bytes of names that are no UTF-8;
# and what turns the direction of writing.
_UNSAFE = re.compile(
  '[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069]'
)


def shown(text: str, keep: str = '') -> str:
  r"""Return text from outside as a terminal and a table can take it.

  Control characters, and bytes of file names that are no UTF-8, become `\x1b`.

  Args:
    text: such as the name of a file.
    keep: characters to leave, such as newlines of a message of ours.
  """

  def escape(match: re.Match) -> str:
    code = ord(match[0])
    if match[0] in keep:
      return match[0]
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as Python keeps it in a name
      code -= 0xDC00
    return f'\\x{code:02x}' if code < 256 else f'\\u{code:04x}'

  return _UNSAFE.sub(escape, text)


def say(text: str) -> None:
  """Print lines of ours in which names from outside may stand."""
  print(shown(text, keep='\n'), flush=True)


def reason(error: BaseException) -> str:
  """Say in one line what an error of the system or a library means."""
  number = getattr(error, 'errno', None)
  if isinstance(error, OSError) and number and error.strerror:
    where = f'{error.filename}: ' if error.filename is not None else ''
    remedy = REMEDIES.get(number)
    return f'{where}{error.strerror}' + (f'; {remedy}' if remedy else '')
  lines = str(error).strip().splitlines()
  # Of TensorStore, all its settings follow.
  first = lines[0].partition('. See full')[0] if lines else ''
  return first[:LONGEST] or type(error).__name__


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
  """End the program with one line where the user or the machine is at fault.

  With --verbosity=1 the traceback is shown.
  """
  for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, 'reconfigure'):  # of names, whatever the terminal takes
      stream.reconfigure(errors='backslashreplace')
  threading.excepthook = _thread_error
  try:
    yield
  except (ValueError, OSError, MemoryError) as error:
    if logging.level_debug():
      raise
    sys.exit(f'Error: {shown(_message(error), keep=chr(10))}')
  except KeyboardInterrupt:
    print('\nStopped.', file=sys.stderr)
    sys.exit(130)


def _thread_error(error: threading.ExceptHookArgs) -> None:
  """Say in one line that a thread of a library cannot write."""
  if isinstance(error.exc_value, OSError):
    text = shown(reason(error.exc_value))
    print(f'warning: {text}', file=sys.stderr, flush=True)
  else:
    threading.__excepthook__(error)


def _message(error: Exception) -> str:
  """Return the line to end with."""
  if isinstance(error, OSError):
    return reason(error)
  if isinstance(error, MemoryError):
    return f'Memory ran out ({reason(error)}).'
  return str(error)
