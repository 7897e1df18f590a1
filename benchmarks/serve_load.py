"""Films per second of the server under load, its waiting times and its memory.

  python -m benchmarks.serve_load --workdir=runs/cascade_phantom --requests=2000

Clients send phantoms over the loopback, each the next as soon as it has an
answer. One of them sends every tenth film in drops, until the server has had
enough of it, and another sends a bomb in every tenth: neither may harm the
others. The server lets in fewer requests than there are clients, so that some
get a 429 and come again after Retry-After.
"""

import argparse
import collections
from collections.abc import Sequence
import http.client
import os
import pathlib
import re
import select
import struct
import subprocess
import sys
import threading
import time
import zlib

import numpy as np

from boneage_jax.imaging import png
from boneage_jax.phantom import render

FIRST = 200  # requests, after which memory is measured first
GROWTH = 50  # MiB that are allowed from then on
FILMS = 24
EVERY = 10  # of the slow and of the hostile client
DROP, PAUSE = 256, 0.1  # bytes, seconds
END = b'\r\n--x--\r\n'


def body(film: bytes, sex: str) -> bytes:
  """Return the form of a film."""
  head = (
    f'--x\r\nContent-Disposition: form-data; name="sex"\r\n\r\n{sex}\r\n'
    '--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"'
    '\r\n\r\n'
  )
  return head.encode() + film + END


def bomb(side: int) -> bytes:
  """Return a PNG of few bytes that would be `side` x `side` pixels."""

  def chunk(kind, content):
    checksum = struct.pack('>I', zlib.crc32(kind + content))
    return struct.pack('>I', len(content)) + kind + content + checksum

  head = struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0)
  data = zlib.compress(bytes(min(side * (side + 1), 1 << 27)), 9)
  parts = chunk(b'IHDR', head) + chunk(b'IDAT', data) + chunk(b'IEND', b'')
  return png.SIGNATURE + parts


class Load:
  """Requests of all clients, and what came of them.

  Attributes:
    seconds: of each film that was answered, with its 429s.
    seen: status -> answers.
    resident: MiB of the server after so many requests.
  """

  def __init__(self, port: int, server: int, requests: int):
    """Send so many requests to a process."""
    self.seconds: list[float] = []
    self.seen: collections.Counter[str] = collections.Counter()
    self.resident: dict[int, float] = {}
    self._port, self._server = port, server
    self._all = self._left = requests
    self._done = 0
    self._lock = threading.Lock()
    images = [
      render.make_film(k, 0, {'long_side': 512})['image'] for k in range(FILMS)
    ]
    self._bodies = [body(png.encode(image), 'F') for image in images]
    # The first is refused by its header, the other after it was inflated.
    self._bombs = [body(bomb(side), 'F') for side in (20_000, 7_900)]

  def run(self, clients: int) -> float:
    """Send all; return the seconds that they took."""
    threads = [
      threading.Thread(target=self._client, args=(number,))
      for number in range(clients)
    ]
    before = time.perf_counter()
    for one in threads:
      one.start()
    for one in threads:
      one.join()
    return time.perf_counter() - before

  def _client(self, number: int) -> None:
    count = 0
    while self._next():
      count += 1
      odd = count % EVERY == 0
      if odd and number == 1:
        sent = self._bombs[count // EVERY % len(self._bombs)]
        status, _ = self._ask(sent, False)
        self.seen[f'bomb {status}'] += 1
      else:
        slow = odd and number == 0
        self._film(self._bodies[(number + count) % FILMS], slow)
      self._finish()

  def _film(self, sent: bytes, slow: bool) -> None:
    before = time.perf_counter()
    while True:
      status, wait = self._ask(sent, slow)
      self.seen[f'slow {status}' if slow else str(status)] += 1
      if status != 429:
        break
      time.sleep(wait)
    if not slow:
      self.seconds.append(time.perf_counter() - before)

  def _ask(self, sent: bytes, slow: bool) -> tuple[int, float]:
    """Send a form; return the status and Retry-After, seconds."""
    link = http.client.HTTPConnection('127.0.0.1', self._port, timeout=600)
    try:
      link.putrequest('POST', '/predict')
      link.putheader('Content-Type', 'multipart/form-data; boundary=x')
      link.putheader('Content-Length', str(len(sent)))
      link.endheaders()
      step = DROP if slow else len(sent)
      for start in range(0, len(sent), step):
        if slow and select.select([link.sock], [], [], PAUSE)[0]:
          break  # it has answered
        link.send(sent[start : start + step])
      answer = link.getresponse()
      answer.read()
      return answer.status, float(answer.headers.get('Retry-After', 0))
    finally:
      link.close()

  def _next(self) -> bool:
    with self._lock:
      self._left -= 1
      return self._left >= 0

  def _finish(self) -> None:
    with self._lock:
      self._done += 1
      if self._done in (FIRST, self._all):
        self.resident[self._done] = resident(self._server)


def resident(process: int) -> float:
  """Return the memory of a process, MiB."""
  status = pathlib.Path(f'/proc/{process}/status').read_text()
  return int(re.search(r'VmRSS:\s+(\d+)', status)[1]) / 1024


def main(argv: Sequence[str] | None = None) -> None:
  """Print the figures; exits 1 where another client or memory was harmed."""
  parser = argparse.ArgumentParser(
    prog='python -m benchmarks.serve_load',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--workdir', required=True, help='folder of a run')
  parser.add_argument('--requests', type=int, default=2000)
  parser.add_argument('--clients', type=int, default=16)
  parser.add_argument('--at_once', type=int, default=12, help='of the server')
  args = parser.parse_args(argv)
  command = [sys.executable, '-m', 'boneage_jax.serve']
  command += [f'--workdir={args.workdir}', '--port=0']
  before = time.perf_counter()
  with subprocess.Popen(
    [*command, f'--at_once={args.at_once}'],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  ) as server:
    try:
      lines = iter(server.stdout.readline, '')
      ready = next((line for line in lines if 'Ready' in line), None)
      if ready is None:
        sys.exit('The server did not start.')
      started = time.perf_counter() - before
      port = int(re.search(r':(\d+) ', ready)[1])
      load = Load(port, server.pid, args.requests)
      taken = load.run(args.clients)
    finally:
      server.terminate()
      ended = server.wait()
  sys.exit(0 if report(load, started, taken, ended) else 1)


def report(load: Load, started: float, taken: float, ended: int) -> bool:
  """Print what was measured; return whether nobody was harmed."""
  half, most = np.percentile(load.seconds, (50, 95))
  first, last = min(load.resident), max(load.resident)
  grown = load.resident[last] - load.resident[first]
  answered = load.seen['200']
  print(f'cores              {os.cpu_count()}')
  print(f'ready after        {started:.1f} s')
  print(f'films              {answered}, {answered / taken:.2f} a second')
  print(f'p50, p95           {half:.2f} s, {most:.2f} s')
  for count in (first, last):
    print(f'memory after {count:<5} {load.resident[count]:.0f} MiB')
  print(f'growth             {grown:.0f} MiB, at most {GROWTH} are allowed')
  for status, count in sorted(load.seen.items()):
    print(f'{status:<18} {count}')
  print(f'exit code          {ended}')
  expected = {'200', '429', 'slow 408', 'slow 429'}
  expected |= {'bomb 413', 'bomb 422', 'bomb 429'}
  return set(load.seen) <= expected and grown <= GROWTH and ended == 0


if __name__ == '__main__':
  main()
