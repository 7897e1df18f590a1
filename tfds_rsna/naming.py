"""What a data set is called: the RSNA's by its ids, others by their folder."""

from collections.abc import Iterable
from collections.abc import Mapping
import os
from typing import Any

from tfds_rsna import layout

RSNA = 'RSNA'
# The ids of the release: 14,236 numbers without a gap, of which 200 are test.
_ALL, _TEST = range(1377, 15613), range(4360, 4560)


def is_release(split: str, listed: Iterable[str]) -> bool:
  """Whether a label file lists the films of the RSNA's release, all of them.

  Args:
    split: of the film's label file.
    listed: its ids.
  """
  ids = set(listed)
  if len(ids) != layout.SPLITS[split][1] or not all(map(_is_whole, ids)):
    return False
  numbers = set(map(int, ids))
  if split == 'test':
    return numbers == set(_TEST)
  return numbers <= set(_ALL) - set(_TEST)


def describe(
  owners: Mapping[str, str],
  counts: Mapping[str, int],
  label_files: Mapping[str, Mapping[str, str]],
) -> tuple[str, int]:
  """Name a data set, and say how many films it would have if it were whole.

  Args:
    owners: whose films each split has: RSNA, or another name.
    counts: films of each split that were prepared.
    label_files: of each split, with the `sha256` of the file.

  Returns:
    the name, in which a subset of the RSNA's release is called one and films of
    others go by the hash of their labels, and the number.
  """
  parts, total, last = [], 0, ''
  for split, count in counts.items():
    text, full, _ = layout.SPLITS[split]
    owner = owners[split]
    part = text if owner == last else f'{owner} {text}'
    if owner != RSNA:
      digest = label_files[split]['sha256'][:12]
      part += f', {count} films, labels {digest}'
    elif count < full:
      part += f', subset: {count} of {full} films'
    elif count > full:
      part += f', {count} films (the release has {full})'
    else:
      part += f', {count} films'
    parts.append(part)
    total += full if owner == RSNA else count
    last = owner
  return '; '.join(parts), total


def rename(info: Mapping[str, Any], name: str) -> dict[str, Any]:
  """Return the content of a build.json as a user calls the data set.

  Args:
    info: the content.
    name: whose films they are, such as 'RSNA' for a part of the release; ''
      leaves the name that the build found. Phantoms stay phantoms.
  """
  if not name:
    return dict(info)
  if info.get('phantom'):
    return {**info, 'name': f'{name}, {info["name"]}'}
  owners = dict.fromkeys(info['splits'], name)
  text, total = describe(owners, info['splits'], info['label_files'])
  return {**info, 'name': text, 'of': total}


def folder_name(manual_dir: str) -> str:
  """Return what films go by that are not known to be the RSNA's."""
  return os.path.basename(os.path.normpath(manual_dir))


def _is_whole(film: str) -> bool:
  return film.isascii() and film.isdigit()
