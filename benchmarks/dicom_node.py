"""A DICOM node between others' programs, killed while it works.

  python -m benchmarks.dicom_node --workdir=RUN [--films=100] [--kills=2]

dcmtk's storescu sends synthetic hands to the node, and the node sends to its
storescp. The node is killed (SIGKILL) after a third and two thirds of the
objects, and started again with the same command. It prints how many objects
storescp holds, how many came twice and whether these were the same, and the
times.
"""

import argparse
import collections
from collections.abc import Sequence
import contextlib
import hashlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

from boneage_jax.phantom import render

ROOT = pathlib.Path(__file__).parents[1]
CR = '1.2.840.10008.5.1.4.1.1.1'


def write_films(folder: pathlib.Path, count: int, long_side: int) -> None:
  """Write CR films of synthetic hands."""
  import pydicom

  folder.mkdir()
  for k in range(count):
    image = render.make_film(k, 0, {'long_side': long_side})['image']
    film = pydicom.Dataset()
    film.file_meta = pydicom.dataset.FileMetaDataset()
    film.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = CR
    film.SOPInstanceUID = pydicom.uid.generate_uid(
      entropy_srcs=['film', str(k)]
    )
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.StudyInstanceUID = pydicom.uid.generate_uid(entropy_srcs=['s', str(k)])
    film.SeriesInstanceUID = f'{film.StudyInstanceUID}.1'[:64]
    film.PatientID, film.PatientName = f'P{k}', f'Phantom^{k}'
    film.PatientSex, film.PatientBirthDate = 'MF'[k % 2], '20150101'
    film.StudyDate, film.StudyTime, film.StudyID = '20250101', '120000', str(k)
    film.AccessionNumber, film.Modality = f'A{k}', 'CR'
    film.BodyPartExamined, film.Laterality = 'HAND', 'L'
    film.Rows, film.Columns = image.shape
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, 'MONOCHROME2'
    film.BitsAllocated = film.BitsStored = 8
    film.HighBit, film.PixelRepresentation = 7, 0
    data = np.ascontiguousarray(image).tobytes()
    film.PixelData = data + b'\0' * (len(data) % 2)
    film.save_as(folder / f'{k:04d}.dcm', enforce_file_format=True)


def free_port() -> int:
  """Return a port that nobody listens at.

  Not one of those that a system gives to others who ask for any.
  """
  while True:
    port = random.randrange(20_000, 32_000)
    with socket.socket() as one, contextlib.suppress(OSError):
      one.bind(('127.0.0.1', port))
      return port


class Node:
  """The node's command, started and killed."""

  def __init__(self, arguments: Sequence[str], log: pathlib.Path):
    """Start nothing yet."""
    self._command = [
      sys.executable,
      '-m',
      'boneage_jax.serve.dicom',
      *arguments,
    ]
    self._log = log
    self.process: subprocess.Popen | None = None
    self.seconds: list[float] = []  # to its first answer

  def start(self) -> None:
    """Start it, and wait until it takes films."""
    begin = time.monotonic()
    with open(self._log, 'ab') as log:
      before = log.tell()
      self.process = subprocess.Popen(
        self._command, stdout=log, stderr=log, cwd=ROOT
      )
    while b' takes films at ' not in self._log.read_bytes()[before:]:
      if self.process.poll() is not None:
        raise ValueError(f'The node ended:\n{self._log.read_text()}')
      time.sleep(0.05)
    self.seconds.append(time.monotonic() - begin)

  def kill(self) -> None:
    """Kill it as a power cut does."""
    if self.process:
      self.process.kill()
      self.process.wait()

  def stop(self) -> int:
    """Stop it as a service manager does; return its exit code."""
    self.process.send_signal(signal.SIGTERM)
    return self.process.wait(60)


class Receiver:
  """dcmtk's storescp, which keeps each copy of what it gets."""

  def __init__(self, folder: pathlib.Path, port: int):
    """Start it."""
    folder.mkdir()
    self._folder = folder
    self._process = subprocess.Popen(
      # As it came, under a new name: no copy takes the place of another.
      ['storescp', '+B', '+uf', '-aet', 'PACS', '-od', folder, str(port)],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.STDOUT,
    )

  def files(self) -> list[pathlib.Path]:
    """Return what is there, in part perhaps half written."""
    return [path for path in self._folder.iterdir() if path.is_file()]

  def end(self) -> None:
    """End it."""
    self._process.terminate()
    self._process.wait()


def wait_for(what: str, is_so, seconds: float = 3600) -> None:
  """Wait until something is so; raises where it takes too long."""
  end = time.monotonic() + seconds
  while not is_so():
    if time.monotonic() > end:
      raise ValueError(f'Waited {seconds:g} s for {what}.')
    time.sleep(0.05)


def run(
  workdir: str, films: int, kills: int, long_side: int, work: pathlib.Path
) -> int:
  """Run it all in a folder; return how many objects are wrong."""
  write_films(work / 'films', films, long_side)
  port, peer_port = free_port(), free_port()
  receiver = Receiver(work / 'received', peer_port)
  arguments = (
    *(f'--workdir={workdir}', f'--port={port}', f'--folder={work}/node'),
    *('--address=127.0.0.1', f'--send_to=127.0.0.1:{peer_port}:PACS'),
  )
  node = Node(arguments, work / 'node.log')
  try:
    node.start()
    begin = time.monotonic()
    subprocess.run(
      [
        *('storescu', '-aec', 'BONEAGE', '+sd', '127.0.0.1', str(port)),
        str(work / 'films'),
      ],
      check=True,
    )
    taken = time.monotonic() - begin
    for kill in range(kills):
      least = 2 * films * (kill + 1) // (kills + 1)
      wait_for('objects', lambda least=least: len(receiver.files()) >= least)
      node.kill()
      print(f'killed at {len(receiver.files())} objects')
      node.start()
    waiting = (work / 'node/films', work / 'node/sending')
    wait_for('the end', lambda: not any(any(x.iterdir()) for x in waiting))
    done = time.monotonic() - begin
    code = node.stop()
  finally:
    node.kill()
    receiver.end()
  return judge(receiver.files(), films, work) + tell(
    films, taken, done, node, code
  )


def tell(films: int, taken: float, done: float, node: Node, code: int) -> int:
  """Print the times; return whether the node did not stop well."""
  starts = ', '.join(f'{seconds:.1f}' for seconds in node.seconds)
  print(f'films taken: {films} in {taken:.1f} s ({films / taken:.1f} films/s)')
  print(f'all answered after {done:.1f} s ({films / done:.2f} films/s)')
  print(f'seconds from the command to its first yes: {starts}')
  print(f'exit code after SIGTERM: {code}')
  return int(code != 0)


def judge(files: Sequence[pathlib.Path], films: int, work: pathlib.Path) -> int:
  """Print what the receiver holds; return how much of it is wrong."""
  import pydicom

  copies, kinds, sources = collections.defaultdict(list), {}, set()
  for path in files:
    dataset = pydicom.dcmread(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    copies[dataset.SOPInstanceUID].append(digest)
    kinds[dataset.SOPInstanceUID] = dataset.Modality
    sources.add((dataset.StudyInstanceUID, dataset.Modality))
  counts = collections.Counter(kinds.values())
  twice = [uid for uid, bodies in copies.items() if len(bodies) > 1]
  changed = [uid for uid, bodies in copies.items() if len(set(bodies)) > 1]
  kinds = f'{counts["SR"]} reports, {counts["OT"]} pictures'
  print(f'objects held: {len(copies)}: {kinds}')
  print(f'sent again: {len(twice)}; with other content: {len(changed)}')
  wrong = abs(len(copies) - 2 * films) + abs(len(sources) - 2 * films)
  return wrong + len(changed)


def main(argv: Sequence[str] | None = None) -> None:
  """Run the benchmark; exits with 1 where an object is missing or changed."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', required=True, help='folder of a run')
  parser.add_argument('--films', type=int, default=100)
  parser.add_argument('--kills', type=int, default=2)
  parser.add_argument('--long_side', type=int, default=512, help='of a film')
  args = parser.parse_args(argv)
  for name in ('storescu', 'storescp'):
    if not shutil.which(name):
      sys.exit(f'Expected {name} of dcmtk, found none: apt-get install dcmtk.')
  with tempfile.TemporaryDirectory() as work:
    workdir = os.path.abspath(args.workdir)
    place = pathlib.Path(work)
    wrong = run(workdir, args.films, args.kills, args.long_side, place)
  print(f'wrong: {wrong}')
  sys.exit(int(wrong > 0))


if __name__ == '__main__':
  main()
