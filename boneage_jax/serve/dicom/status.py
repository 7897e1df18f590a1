"""Says what a node has to do, has done and has given up."""

import collections
from collections.abc import Iterator
import os
import time

from boneage_jax.core import door
from boneage_jax.serve.dicom import folder as folder_lib

SHOWN = 20  # lines of a list


def lines(folder: folder_lib.Folder) -> Iterator[str]:
  """Yield the lines of the status of a node."""
  runs = 'runs' if folder.is_used() else 'does not run'
  yield f'The node in {folder.path} {runs}.'
  films, jobs = folder.films(), folder.jobs()
  yield f'films to predict: {len(films)}{_age(folder, films)}'
  since = [job.since for job in jobs]
  yield f'objects to send: {len(jobs)}{_ago(min(since)) if since else ""}'
  yield from _some(
    [f'{job.uid}: {job.tries} tries, {job.reason}' for job in jobs if job.tries]
  )
  answers = folder.answers()
  counts = collections.Counter(row['answer'] for row in answers.values())
  yield f'films with an age: {counts[folder_lib.AGE]}'
  for kind, words in (
    (folder_lib.REFUSED, 'refused films, of which a report says why'),
    (folder_lib.NO_HAND, 'images of no hand, of which nothing was sent'),
  ):
    yield f'{words}: {counts[kind]}'
    yield from _some(
      [
        f'{uid}: {x["reason"]}'
        for uid, x in answers.items()
        if x['answer'] == kind
      ]
    )
  yield f'objects of ours that came back: {counts[folder_lib.OWN]}'
  dead, lost = folder.dead()
  yield f'given up: {len(dead)} films, {len(lost)} objects'
  yield from _some(
    [f'{uid}: {answers.get(uid, {}).get("reason", "")}' for uid in dead]
    + [f'{job.uid}: {job.reason}' for job in lost]
  )


def _some(texts: list[str]) -> Iterator[str]:
  for text in texts[-SHOWN:]:
    yield door.shown(f'  {text}')
  if len(texts) > SHOWN:
    yield f'  and {len(texts) - SHOWN} before these'


def _age(folder: folder_lib.Folder, films: list[str]) -> str:
  for uid in films[:1]:
    try:
      return _ago(os.stat(folder.film(uid)).st_mtime)
    except FileNotFoundError:  # answered since
      return ''
  return ''


def _ago(since: float) -> str:
  return f', the oldest for {max(time.time() - since, 0):.0f} s'
