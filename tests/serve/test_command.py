"""The command: what it refuses, and a server from its start to its end."""

import http.client
import importlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import cv2
import pytest

pytest.importorskip('fastapi', reason='needs the extra web')

from boneage_jax import predict
from boneage_jax.serve import __main__ as command

ROOT = pathlib.Path(__file__).parents[2]


def refused(*arguments):
  with pytest.raises(SystemExit) as stop:
    command.main(['--workdir=nowhere', *arguments])
  return stop.value.code


def test_others_reach_it_with_a_token_alone(monkeypatch):
  monkeypatch.delenv(command.TOKEN, raising=False)
  assert 'Expected --token=WORD' in refused('--host=0.0.0.0')
  monkeypatch.setenv(command.TOKEN, 'word')
  args = command._parse(['--workdir=RUN', '--host=0.0.0.0'])
  allowed = command._settings(args)
  assert allowed.token == 'word' and allowed.addresses
  own = command._settings(command._parse(['--workdir=RUN']))
  assert not own.addresses


def test_a_port_that_is_taken_is_named_before_nets_are_loaded():
  with socket.create_server(('127.0.0.1', 0)) as other:
    said = refused(f'--port={other.getsockname()[1]}')
  assert said.endswith('choose another --port')


def test_a_missing_package_is_named(monkeypatch):
  def fail(name):
    raise ImportError(name)

  monkeypatch.setattr(importlib, 'import_module', fail)
  assert "needs fastapi: pip install -e '.[web]'" in refused()


def ask(port, data, sex, seen=None):
  """Send a film slowly, in two parts; `seen` is set between them."""
  head = (
    f'--x\r\nContent-Disposition: form-data; name="sex"\r\n\r\n{sex}\r\n'
    '--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"'
    '\r\n\r\n'
  )
  body = head.encode() + data + b'\r\n--x--\r\n'
  link = http.client.HTTPConnection('127.0.0.1', port, timeout=300)
  link.putrequest('POST', '/predict')
  link.putheader('Content-Type', 'multipart/form-data; boundary=x')
  link.putheader('Content-Length', str(len(body)))
  link.endheaders()
  link.send(body[:1000])
  if seen:
    time.sleep(1)
    seen.set()
    time.sleep(2)
  link.send(body[1000:])
  answer = link.getresponse()
  return answer.status, json.loads(answer.read())


@pytest.mark.ci
def test_a_server_answers_as_predict_and_finishes_what_runs(
  untrained, tmp_path, capsys
):
  film = sorted((untrained / 'films').glob('*.png'))[0]
  run = f'--workdir={untrained / "run"}'
  temporary = str(tmp_path / 'tmp')
  os.mkdir(temporary)
  with subprocess.Popen(
    [sys.executable, '-m', 'boneage_jax.serve', run, '--port=0'],
    cwd=tmp_path,
    env={
      **os.environ,
      'PYTHONPATH': str(ROOT),
      'TMPDIR': str(tmp_path / 'tmp'),
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    try:
      lines = iter(process.stdout.readline, '')
      said = next(line for line in lines if 'Ready' in line)
      port = int(re.search(r':(\d+) ', said)[1])
      # As large as Starlette would keep on disk.
      image = cv2.resize(cv2.imread(str(film), 0), None, fx=4, fy=4)
      large = cv2.imencode('.bmp', image)[1].tobytes()
      assert len(large) > 2_000_000
      assert ask(port, large, 'F')[0] == 200
      status, (answer,) = ask(port, film.read_bytes(), 'unknown')
      assert status == 200
      found, sent = [], threading.Event()
      slow = threading.Thread(
        target=lambda: found.append(ask(port, film.read_bytes(), 'M', sent))
      )
      slow.start()
      sent.wait()
      process.send_signal(signal.SIGTERM)
      slow.join()
      assert found[0][0] == 200 and found[0][1][0]['age_predicted'] > 0
      assert process.wait(120) == 0
      log = process.stderr.read()
    finally:
      process.kill()
  assert log.count('POST /predict 200') == 3 and film.name not in log
  # Nothing is stored.
  assert [p.name for p in tmp_path.rglob('*')] == ['tmp']
  with pytest.raises(SystemExit):
    predict.main([run, str(film), '--sex=unknown', '--format=jsonl'])
  row = json.loads(capsys.readouterr().out)
  assert row['age_predicted'] == answer['age_predicted']
  assert row['age_if_male'] == answer['age_if_male']
