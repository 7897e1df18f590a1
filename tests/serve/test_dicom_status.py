"""What is said of a DICOM node, and its command line."""

import fake_nets
import pytest

from boneage_jax.serve.dicom import __main__ as command
from boneage_jax.serve.dicom import folder as folder_lib
from boneage_jax.serve.dicom import status

pytest.importorskip('pydicom')
pytest.importorskip('highdicom')
import node_films


def test_status_lists_what_waits_and_what_was_not_sent(folder, capsys):
  nets = fake_nets.FakeNets(1)
  nets.checks = node_films.NoHands()
  node_films.take(
    folder,
    node_films.film(1),
    node_films.film(2, False, BodyPartExamined='CHEST'),
  )
  node_films.take(folder, node_films.film(3, StudyInstanceUID=None))
  node_films.answerer(folder, nets).run_once()
  node_films.take(folder, node_films.film(4))
  with open(folder.place('answers.jsonl'), 'ab') as file:
    file.write(b'{"film": "1.2.')  # cut off by a kill
  folder.answered('1.2.3.5', 'own')
  text = '\n'.join(status.lines(folder))
  for words in (
    'does not run', 'films to predict: 1, the oldest for', 'objects to send: 2',
    'films with an age: 1', 'no hand, of which nothing was sent: 1',
    '  1.2.3.2: the film does not show a hand', 'given up: 1 films, 0 objects',
    '  1.2.3.3: Expected StudyInstanceUID', 'ours that came back: 1',
  ):  # fmt: skip
    assert words in text, text
  with folder.alone():
    assert ' runs.' in next(status.lines(folder))
    other = folder_lib.Folder(folder.path).alone()
    with pytest.raises(ValueError, match='Another node uses'), other:
      pass
  with pytest.raises(SystemExit) as stop:
    command.main(['status', f'--folder={folder.path}'])
  assert stop.value.code == 1  # something was given up
  assert 'given up: 1 films' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (['--workdir=a'], 'expected --send_to=HOST:PORT:AET'),
    (['--send_to=a:1:B'], 'expected --workdir or --model'),
    (['--workdir=a', '--send_to=a:B'], "HOST:PORT:AET, got 'a:B'"),
    (['--workdir=a', '--send_to=a:1:' + 'B' * 17], 'AE title of 1 to 16'),
    (['--workdir=a', '--send_to=a:1:B', '--port=0'], 'expected 1 to 65535'),
    (['status', '--folder=none'], 'Expected the folder of a node'),
  ],
)
def test_wrong_arguments_end_in_one_line(arguments, words, capsys):
  with pytest.raises(SystemExit) as stop:
    command.main(arguments)
  said = f'{stop.value.code}{capsys.readouterr().err}'
  assert words in said
