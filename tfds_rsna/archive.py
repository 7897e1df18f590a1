"""Finds labels, films and annotations in the public archive layouts."""

import collections
import dataclasses
import hashlib
import json
import os
import re
import threading
from typing import Any
import zipfile

from boneage_jax import annotations
from tfds_rsna import labels

# Split: name in texts, films of the full release, pattern of file names.
SPLITS = {
  'train': ('training', 12611, 'train'),
  'validation': ('validation', 1425, 'valid'),
  'test': ('test', 200, 'test|ground.?truth'),
}
FILMS = ('.png', '.jpg', '.jpeg', '.dcm')
LAYOUT = """Expected in the folder, zip files or extracted folders alike:
  boneage-training-dataset.csv     id,boneage,male
  boneage-training-dataset.zip     <id>.png (or .jpg, .dcm)
and of the official release, where at hand:
  Validation Dataset.csv           Image ID, male, Bone Age (months)
  boneage-validation-dataset-1.zip, boneage-validation-dataset-2.zip
  Bone Age Ground Truth.xlsx       Case ID, Sex, Ground truth bone age (months)
  boneage-test-dataset.zip
and, where at hand, annotations/ (here or beside this folder)."""

_local = threading.local()


@dataclasses.dataclass(frozen=True)
class Film:
  """One labelled film: where its bytes lie, age in months."""

  id: int
  male: bool
  age: float
  container: str  # a zip file, or '' for a plain file
  member: str  # the name in the zip file, or the path
  size: int

  def read(self) -> bytes:
    """Reads the film's file; every thread has its own handle of a zip."""
    if not self.container:
      with open(self.member, 'rb') as f:
        return f.read()
    handles = _local.__dict__.setdefault('handles', {})
    if self.container not in handles:
      handles[self.container] = zipfile.ZipFile(self.container)
    return handles[self.container].read(self.member)


@dataclasses.dataclass
class Archive:
  """What an archive holds."""

  manual_dir: str
  films: dict[str, list[Film]]  # per split, in order of the label file
  bad: list[list[Any]]  # [id, reason]
  label_files: dict[str, dict[str, str]]  # per split: file, sha256
  unlabelled: dict[str, int]  # per split: films the label file does not list
  notes: list[str]
  annotations: dict[int, dict[str, Any]]
  phantom: dict[str, Any] | None  # what phantom.json says, None for films

  def fingerprint(self) -> str:
    """Hashes labels, film files and annotations; zip equals extracted."""
    lines = [
      f'{split} {f.id} {f.male} {f.age} {os.path.basename(f.member)} {f.size}'
      for split, films in self.films.items()
      for f in sorted(films, key=lambda f: f.id)]
    text = json.dumps([lines, sorted(self.annotations.items()), self.phantom])
    return hashlib.sha256(text.encode()).hexdigest()

  def name(self, counts: dict[str, int]) -> str:
    """Names the data set; a subset is called one.

    Args:
      counts: films per split that were prepared.
    """
    if self.phantom is not None:
      return (f'phantoms: {sum(counts.values())} films '
              f'(seed {self.phantom.get("seed", "unknown")})')
    parts = []
    for split, n in counts.items():
      text, full, _ = SPLITS[split]
      parts.append(f'{text}, {n} films' if n == full else
                   f'{text}, subset: {n} of {full} films' if n < full else
                   f'{text}, {n} films (the release has {full})')
    return 'RSNA ' + '; '.join(parts)


def read(manual_dir: str | os.PathLike) -> Archive:
  """Reads labels and lists films, without opening any film.

  Args:
    manual_dir: the folder LAYOUT describes.

  Raises:
    ValueError: the folder does not hold a labelled archive.
  """
  manual_dir = os.path.abspath(os.fspath(manual_dir))
  if not os.path.isdir(manual_dir):
    raise ValueError(f'manual_dir {manual_dir} is not a folder.\n{LAYOUT}')
  notes: list[str] = []
  tables, containers = _walk(manual_dir, notes)
  archive = Archive(manual_dir, {}, [], {}, {}, notes, {}, None)
  for split, (text, full, _) in SPLITS.items():
    table = _label_file(split, tables[split], notes)
    files, twice = _index(containers[split])
    if table is None:
      if files:
        notes.append(f'{text}: {len(files)} films without a label file are '
                     'ignored.')
      continue
    if not files:
      raise ValueError(
        f'{table} labels the {text} films, but no {text} film was found in '
        f'{manual_dir}.\n{LAYOUT}')
    good, bad = labels.read(table)
    _match_films(archive, split, good, bad, files, twice)
    with open(table, 'rb') as f:
      digest = hashlib.sha256(f.read()).hexdigest()
    archive.label_files[split] = {
      'file': os.path.relpath(table, manual_dir), 'sha256': digest}
    n = len(archive.films[split])
    if n != full:
      notes.append(f'{text}: {n} films; the full release has {full}.')
  if not archive.films:
    raise ValueError(
      f'{manual_dir} holds no label file of bone ages.\n{LAYOUT}')
  _drop_shared(archive)
  _read_extras(archive)
  return archive


def _split_of(path: str) -> str | None:
  """Names the split by the deepest part of a relative path that tells it."""
  for part in reversed(path.split(os.sep)):
    for split, (_, _, pattern) in SPLITS.items():
      if re.search(pattern, part.lower()):
        return split
  return None


def _walk(manual_dir: str, notes: list[str]
          ) -> tuple[dict[str, list[str]], dict[str, list[tuple[str, str]]]]:
  """Lists label tables and (zip or '', film) pairs per split."""
  tables = collections.defaultdict(list)
  zips, loose = [], []
  for folder, folders, names in os.walk(manual_dir, followlinks=True):
    if folder == manual_dir:  # whatever else lies there is not ours
      folders[:] = [d for d in folders if _split_of(d)]
    folders[:] = sorted(d for d in folders if d != '__MACOSX')
    where = os.path.relpath(folder, manual_dir)
    for name in sorted(names):
      kind = os.path.splitext(name)[1].lower()
      path = os.path.join(folder, name)
      if name.startswith('.'):
        continue
      if kind in FILMS:
        loose.append((where, path))
      elif kind in ('.csv', '.xlsx', '.zip'):
        split = _split_of(os.path.join(where, name))
        if split is not None and kind == '.zip':
          zips.append((split, path))
        elif split is not None:
          tables[split].append(path)

  films = collections.defaultdict(list)
  extracted = set()
  for split, path in zips:
    members = [m for m in _members(path)
               if m.lower().endswith(FILMS) and not m.startswith('__MACOSX')
               and not os.path.basename(m).startswith('.')]
    films[split] += [(path, m) for m in members]
    stem = os.path.splitext(os.path.basename(path))[0]
    if members:
      extracted.add(stem)
    else:
      notes.append(f'{path} holds no films; if it holds zip files, extract '
                   'them.')
  skipped = set()
  for where, path in loose:
    split = _split_of(where)
    shadow = extracted.intersection(where.split(os.sep))
    skipped |= shadow
    if split is not None and not shadow:
      films[split].append(('', path))
  notes += [f'{stem}.zip is read; the folder {stem} beside it is not.'
            for stem in sorted(skipped)]
  return tables, films


def _members(path: str) -> list[str]:
  try:
    with zipfile.ZipFile(path) as z:
      return z.namelist()
  except zipfile.BadZipFile as e:
    raise ValueError(f'{path} is not a whole zip file ({e}); fetch it again.'
                     ) from e


def _label_file(split: str, paths: list[str], notes: list[str]) -> str | None:
  """Chooses the table with ages; two of them are an error."""
  rated = [path for path in paths
           if split == 'train' or labels.has_ages(path)]
  notes += [f'{path} lists films without bone ages: ignored.'
            for path in paths if path not in rated]
  if len(rated) > 1:
    raise ValueError(
      f'Expected one label file for {split}, found {" and ".join(rated)}. '
      'Published label files differ: keep the one you mean.')
  return rated[0] if rated else None


def _index(films: list[tuple[str, str]]
           ) -> tuple[dict[int, tuple[str, str, int]], dict[int, list[str]]]:
  """Indexes film files by id; also lists ids that have several files."""
  sizes = {}
  for container in {c for c, _ in films if c}:
    with zipfile.ZipFile(container) as z:
      sizes.update({(container, i.filename): i.file_size
                    for i in z.infolist()})
  files, twice = {}, collections.defaultdict(list)
  for container, member in films:
    stem = os.path.splitext(os.path.basename(member))[0]
    if not stem.isdecimal():
      continue
    size = sizes[container, member] if container else os.path.getsize(member)
    files.setdefault(int(stem), (container, member, size))
    twice[int(stem)].append(os.path.join(container, member))
  return files, {i: paths for i, paths in twice.items() if len(paths) > 1}


def _match_films(archive: Archive, split: str, good: list[labels.Label],
                 bad: list[list[Any]],
                 files: dict[int, tuple[str, str, int]],
                 twice: dict[int, list[str]]) -> None:
  """Joins labels with files; what has no partner is noted or bad."""
  films = archive.films[split] = []
  archive.bad += bad
  for label in good:
    if label.id in twice:
      archive.bad.append(
        [label.id, f'several files: {", ".join(twice[label.id])}'])
    elif label.id not in files:
      archive.bad.append(
        [label.id, f'listed for {split}, but there is no film file '
                   f'{label.id}.png, .jpg or .dcm'])
    else:
      films.append(Film(label.id, label.male, label.age, *files[label.id]))
  listed = {label.id for label in good} | {entry[0] for entry in bad}
  unlabelled = archive.unlabelled[split] = len(files.keys() - listed)
  if unlabelled:
    archive.notes.append(
      f'{SPLITS[split][0]}: {unlabelled} film files are not in the label file '
      'and are left out.')


def _drop_shared(archive: Archive) -> None:
  """Takes out ids that stand in two splits: they would leak."""
  splits = collections.defaultdict(list)
  for split, films in archive.films.items():
    for film in films:
      splits[film.id].append(split)
  shared = {i: s for i, s in splits.items() if len(s) > 1}
  archive.bad += [[i, f'stands in several splits: {", ".join(s)}']
                  for i, s in shared.items()]
  for split, films in archive.films.items():
    archive.films[split] = [f for f in films if f.id not in shared]


def _read_extras(archive: Archive) -> None:
  """Reads annotations and the phantom's description, where there are any."""
  ids = {film.id for films in archive.films.values() for film in films}
  for place in (archive.manual_dir, os.path.dirname(archive.manual_dir)):
    folder = os.path.join(place, 'annotations')
    if os.path.isdir(folder):
      archive.annotations = {
        i: a for i, a in annotations.load(folder).items() if i in ids}
      break
  path = os.path.join(archive.manual_dir, 'phantom.json')
  if os.path.exists(path):
    with open(path, encoding='utf-8') as f:
      archive.phantom = json.load(f)
  elif os.path.exists(os.path.join(archive.manual_dir, 'PHANTOM')):
    archive.phantom = {}
