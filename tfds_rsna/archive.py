"""An archive as it is used: films with labels, bad ones, annotations."""

import collections
import dataclasses
import hashlib
import json
import os
import threading
from typing import Any
import zipfile

from boneage_jax.core import ids
from boneage_jax.core import storage
from boneage_jax.imaging import annotations
from boneage_jax.imaging import limits as limits_lib
from tfds_rsna import labels
from tfds_rsna import layout
from tfds_rsna import naming

MOST_HANDLES = 8  # zips that a thread holds open
_local = threading.local()


@dataclasses.dataclass(frozen=True)
class Film:
  """One labelled film: where its bytes lie, age in months.

  `said` is what a user's table says of it besides, for its annotations; `side`
  the part of a picture of two hands that is kept, of `two_hands.SIDES`.
  """

  id: str
  male: bool
  age: float
  container: str  # a zip file, or '' for a plain file
  member: str  # the name in the zip file, or the path
  size: int
  said: dict[str, Any] = dataclasses.field(default_factory=dict)
  side: str = ''

  def read(self, limits: limits_lib.Limits | None = None) -> bytes:
    """Reads the film's file; every thread has its own handle of a zip.

    Raises:
      ValueError: it is no regular file, or larger than the limits.
    """
    if not self.container:
      return limits_lib.read_file(self.member, limits)
    handles = _local.__dict__.setdefault('handles', {})
    if self.container not in handles:
      if len(handles) == MOST_HANDLES:
        handles.pop(next(iter(handles))).close()
      handles[self.container] = zipfile.ZipFile(self.container)
    with handles[self.container].open(self.member) as f:
      return limits_lib.read_stream(f, self.size, limits)


@dataclasses.dataclass
class Archive:
  """What an archive holds."""

  manual_dir: str
  age_unit: str  # of the label files; ages in memory are months
  films: dict[str, list[Film]]  # per split, in order of the label file
  bad: list[list[Any]]  # [id, reason]
  label_files: dict[str, dict[str, str]]  # per split: file, sha256
  listed: dict[str, set[str]]  # per split: ids in the label file
  unlabelled: dict[str, int]  # per split: films the label file does not list
  notes: list[str]
  annotations: dict[str, dict[str, Any]]
  phantom: dict[str, Any] | None  # what phantom.json says, None for films

  def fingerprint(self) -> str:
    """Hashes labels, film files and annotations; zip equals extracted."""
    lines = [
      f'{split} {f.id} {f.male} {f.age} {os.path.basename(f.member)} {f.size}'
      + (f' {f.said} {f.side}' if f.said or f.side else '')
      for split, films in self.films.items()
      for f in sorted(films, key=lambda f: ids.sort_key(f.id))
    ]
    text = json.dumps(
      [
        lines,
        sorted(
          self.annotations.items(), key=lambda item: ids.sort_key(item[0])
        ),
        self.phantom,
      ]
    )
    return hashlib.sha256(text.encode()).hexdigest()

  def owners(self) -> dict[str, str]:
    """Says of each split whose films it has: the RSNA's, or the folder's."""
    folder = naming.folder_name(self.manual_dir)
    return {
      split: naming.RSNA if naming.is_release(split, ids) else folder
      for split, ids in self.listed.items()
    }

  def describe(self, counts: dict[str, int]) -> tuple[str, int]:
    """Names the data set, and says how many films it would have if whole.

    Args:
      counts: films per split that were prepared.
    """
    if self.phantom is not None:
      films = sum(counts.values())
      return f'phantoms: {films} films (seed {self.phantom["seed"]})', films
    return naming.describe(self.owners(), counts, self.label_files)


def read(
  manual_dir: str | os.PathLike, age_unit: str = labels.UNITS[0]
) -> Archive:
  """Reads labels and lists films, without opening any film.

  Args:
    manual_dir: the folder layout.LAYOUT describes.
    age_unit: of the ages in the label files, 'months' or 'years'.

  Raises:
    ValueError: the folder does not hold a labelled archive.
  """
  manual_dir = os.path.abspath(os.fspath(manual_dir))
  if not os.path.isdir(manual_dir):
    raise ValueError(
      f'manual_dir {manual_dir} is not a folder.\n{layout.LAYOUT}'
    )
  found = layout.find(manual_dir)
  tables, containers, notes = found.tables, found.films, found.notes
  unread = layout.describe_unread(found.unread)
  archive = Archive(manual_dir, age_unit, {}, [], {}, {}, {}, notes, {}, None)
  for split, (text, _, _) in layout.SPLITS.items():
    table = _label_file(split, tables[split], notes)
    if table is None:
      if containers[split]:
        notes.append(
          f'{text}: {len(containers[split])} films without a label file are '
          'ignored.'
        )
      continue
    if not containers[split]:
      raise ValueError(
        f'{layout.named(*table)} labels the {text} films, but no {text} film '
        f'was found in {manual_dir}.\n{unread}{layout.LAYOUT}'
      )
    data, path = layout.read_bytes(*table), layout.named(*table)
    good, bad, doubts = labels.read(path, age_unit, data)
    notes += doubts
    archive.listed[split] = {label.id for label in good} | {i for i, _ in bad}
    _match_films(archive, split, good, bad, containers[split])
    archive.label_files[split] = {
      'file': os.path.relpath(path, manual_dir),
      'sha256': hashlib.sha256(data).hexdigest(),
    }
  if not archive.films:
    raise ValueError(
      f'{manual_dir} holds no label file of bone ages.\n{unread}{layout.LAYOUT}'
    )
  _drop_shared(archive)
  read_extras(archive)
  return archive


def _label_file(
  split: str, files: list[tuple[str, str]], notes: list[str]
) -> tuple[str, str] | None:
  """Chooses the table with ages; two that differ are an error."""
  rated: list[tuple[str, str]] = []
  for file in files:
    path, data = layout.named(*file), layout.read_bytes(*file)
    if split != 'train' and not labels.has_ages(path, data):
      notes.append(f'{path} lists films without bone ages: ignored.')
      continue
    others = [other for other in rated if other[0] != file[0]]
    if data not in [layout.read_bytes(*other) for other in others]:
      rated.append(file)  # the same one may lie in a zip and beside it
  if len(rated) > 1:
    names = ' and '.join(layout.named(*file) for file in rated)
    raise ValueError(
      f'Expected one label file for {split}, found {names}. '
      'Published label files differ: keep the one you mean.'
    )
  return rated[0] if rated else None


def _match_films(
  archive: Archive,
  split: str,
  good: list[labels.Label],
  bad: list[list[Any]],
  containers: list[tuple[str, str]],
) -> None:
  """Joins labels with files; what has no partner is noted or bad."""
  files, twice = layout.index(containers)
  films = archive.films[split] = []
  archive.bad += bad
  for label in good:
    if label.id in twice:
      archive.bad.append(
        [label.id, f'several files: {", ".join(twice[label.id])}']
      )
    elif label.id not in files:
      archive.bad.append(
        [
          label.id,
          f'listed for {split}, but there is no film file '
          f'{label.id}{", ".join(layout.FILMS)}',
        ]
      )
    else:
      films.append(Film(label.id, label.male, label.age, *files[label.id]))
  unlabelled = len(files.keys() - archive.listed[split])
  archive.unlabelled[split] = unlabelled
  if unlabelled:
    archive.notes.append(
      f'{layout.SPLITS[split][0]}: {unlabelled} film files are not in the '
      'label file and are left out.'
    )


def _drop_shared(archive: Archive) -> None:
  """Takes out ids that stand in two splits: they would leak."""
  splits = collections.defaultdict(list)
  for split, films in archive.films.items():
    for film in films:
      splits[film.id].append(split)
  shared = {i: s for i, s in splits.items() if len(s) > 1}
  archive.bad += [
    [i, f'stands in several splits: {", ".join(s)}'] for i, s in shared.items()
  ]
  for split, films in archive.films.items():
    archive.films[split] = [f for f in films if f.id not in shared]


def read_extras(archive: Archive) -> None:
  """Reads annotations and the phantom's description, where there are any."""
  known = {film.id for films in archive.films.values() for film in films}
  for place in (archive.manual_dir, os.path.dirname(archive.manual_dir)):
    folder = os.path.join(place, 'annotations')
    if os.path.isdir(folder):
      archive.annotations = {
        i: a for i, a in annotations.load(folder).items() if i in known
      }
      break
  path = os.path.join(archive.manual_dir, 'phantom.json')
  if os.path.exists(path):
    archive.phantom = storage.read_json(path, keys=('seed',))
