"""The public archive layouts: where tables and films lie, by their names."""

import collections
import os
import re
import zipfile

from boneage_jax.core import ids

# Split: name in texts, films of the full release, pattern of file names.
SPLITS = {
  'train': ('training', 12611, 'train'),
  'validation': ('validation', 1425, 'valid'),
  'test': ('test', 200, 'test|ground.?truth'),
}
# Builder config: longest side of its films in pixels; None keeps them.
LONG_SIDES = {'original': None, 'px768': 768, 'px512': 512}
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


def find(
  manual_dir: str, notes: list[str]
) -> tuple[dict[str, list[str]], dict[str, list[tuple[str, str]]]]:
  """Finds label tables and film files by the names of files and folders.

  Returns:
    Per split the paths of tables, and (zip file or '', film file) pairs.
  """
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
    members = [
      m
      for m in _members(path)
      if m.lower().endswith(FILMS)
      and not m.startswith('__MACOSX')
      and not os.path.basename(m).startswith('.')
    ]
    films[split] += [(path, m) for m in members]
    stem = os.path.splitext(os.path.basename(path))[0]
    if members:
      extracted.add(stem)
    else:
      notes.append(
        f'{path} holds no films; if it holds zip files, extract them.'
      )
  skipped = set()
  for where, path in loose:
    split = _split_of(where)
    shadow = extracted.intersection(where.split(os.sep))
    skipped |= shadow
    if split is not None and not shadow:
      films[split].append(('', path))
  notes += [
    f'{stem}.zip is read; the folder {stem} beside it is not.'
    for stem in sorted(skipped)
  ]
  return tables, films


def index(
  films: list[tuple[str, str]],
) -> tuple[dict[str, tuple[str, str, int]], dict[str, list[str]]]:
  """Indexes film files by id; also lists ids that have several files."""
  sizes = {}
  for container in {c for c, _ in films if c}:
    with zipfile.ZipFile(container) as z:
      sizes.update({(container, i.filename): i.file_size for i in z.infolist()})
  files, twice = {}, collections.defaultdict(list)
  for container, member in films:
    try:
      film = ids.normalize(os.path.basename(member))
    except ValueError:  # no table can name such a file
      continue
    size = sizes[container, member] if container else os.path.getsize(member)
    files.setdefault(film, (container, member, size))
    twice[film].append(os.path.join(container, member))
  return files, {i: paths for i, paths in twice.items() if len(paths) > 1}


def _split_of(path: str) -> str | None:
  """Names the split by the deepest part of a relative path that tells it."""
  for part in reversed(path.split(os.sep)):
    for split, (_, _, pattern) in SPLITS.items():
      if re.search(pattern, part.lower()):
        return split
  return None


def _members(path: str) -> list[str]:
  try:
    with zipfile.ZipFile(path) as z:
      return z.namelist()
  except zipfile.BadZipFile as e:
    raise ValueError(
      f'{path} is not a whole zip file ({e}); fetch it again.'
    ) from e
