"""How every command ends."""

import errno
import os

import pytest

from boneage_jax.core import door
from boneage_jax.core import storage


def end(error):
  with pytest.raises(SystemExit) as stop, door.one_line_errors():
    raise error
  return stop.value.code


@pytest.mark.parametrize(
  ('error', 'says'),
  [
    (ValueError('Expected x.\nGot \x1b[31my'), 'Expected x.\nGot \\x1b[31my'),
    (
      OSError(errno.ENOSPC, 'No space left on device', '/a'),
      '/a: No space left on device; free some space, or write elsewhere',
    ),
    (
      NotADirectoryError(errno.ENOTDIR, 'Not a directory', '/a/b'),
      '/a/b: Not a directory; a part of it is a file: name a folder',
    ),
    (
      OSError(errno.EADDRINUSE, 'Address already in use'),
      'Address already in use; another program has it: choose another --port',
    ),
    (MemoryError(), 'Memory ran out (MemoryError).'),
  ],
)
def test_errors_end_with_one_line(error, says):
  assert end(error) == f'Error: {says}'


def test_faults_of_the_program_keep_their_traceback():
  for error in (RuntimeError('of ours'), KeyError('x')):
    with pytest.raises(type(error)), door.one_line_errors():
      raise error


def test_ctrl_c_ends_without_a_traceback(capsys):
  assert end(KeyboardInterrupt()) == 130
  assert capsys.readouterr().err == '\nStopped.\n'


def test_names_are_shown_as_a_terminal_can_take_them():
  name = os.fsdecode(b'caf\xe9\x1b[2J\n\xc3\xa9')
  assert door.shown(name) == 'caf\\xe9\\x1b[2J\\x0aé'
  assert door.shown('a\nb\u202e', keep='\n') == 'a\nb\\u202e'


@pytest.mark.parametrize('text', ['{"a": ', '[1]', '{"b": 1}', '\xff'])
def test_a_damaged_json_is_named(tmp_path, text):
  path = str(tmp_path / 'done.json')
  with open(path, 'w', encoding='latin-1') as file:
    file.write(text)
  with pytest.raises(ValueError, match=f'{path} is damaged .*run again'):
    storage.read_json(path, keys=('a',))


def test_a_failed_write_names_the_file_and_keeps_the_former(tmp_path):
  path = str(tmp_path / 'new' / 'a.json')
  storage.write_json(path, {'a': 1})  # makes the folder
  full = OSError(errno.ENOSPC, 'No space left on device')
  with (
    pytest.raises(OSError, match='No space') as raised,
    storage.replacing(path),
  ):
    raise full
  assert raised.value.filename == path
  assert storage.read_json(path) == {'a': 1}
  assert os.listdir(tmp_path / 'new') == ['a.json']
