"""Records of array_record files, whose damage is named.

Grain and TFDS are imported where records are opened, see `sources`.
"""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from boneage_jax.core import door
from boneage_jax.core import storage


class Records:
  """Random access to records; says which file is damaged, and what to do."""

  def __init__(self, records: Any, where: Callable[[int], str], remedy: str):
    """Take records.

    Args:
      records: with `len` and random access.
      where: names the file and the films around a position.
      remedy: what a user can do.
    """
    self._records, self._where, self._remedy = records, where, remedy

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> Any:
    try:
      return self._records[index]
    except IndexError:
      raise
    except Exception as error:  # array_record has errors of many kinds
      raise ValueError(
        f'{self._where(index)} cannot be read ({door.reason(error)}): the file '
        f'is damaged or gone. {self._remedy}'
      ) from error

  def __iter__(self) -> Iterator[Any]:
    return (self[index] for index in range(len(self)))


def of_stage(path: str) -> Records:
  """Open a file of records that a stage wrote.

  Raises:
    ValueError: it is damaged.
  """
  import grain

  remedy = (
    f'Remove the folder {path.rpartition("/")[0]} and run its stage again.'
  )
  try:
    found = grain.sources.ArrayRecordDataSource([storage.local(path)])
    len(found)
  except FileNotFoundError:
    raise
  except Exception as error:
    raise ValueError(
      f'{path} cannot be read ({door.reason(error)}): the file is damaged. '
      f'{remedy}'
    ) from error
  return Records(found, lambda index: f'{path}, record {index + 1}', remedy)


def of_data_set(folder: str) -> tuple[Any, Records]:
  """Open a prepared data set.

  Returns:
    its builder, and the records of its splits, one after the other.

  Raises:
    ValueError: it is damaged.
  """
  import tensorflow_datasets as tfds

  remedy = (
    f'Remove the folder {folder}, and done.json of the stage `prepare`, and '
    'run that stage again.'
  )
  try:
    builder = tfds.builder_from_directory(folder)
    decoders = {'image': tfds.decode.SkipDecoding()}
    splits = '+'.join(builder.info.splits)
    found = builder.as_data_source(splits, decoders=decoders)
    shards = [
      (str(path), name, count)
      for name, split in builder.info.splits.items()
      for path, count in zip(split.filepaths, split.shard_lengths, strict=True)
    ]
  except Exception as error:
    raise ValueError(
      f'{folder} cannot be read ({door.reason(error)}): its description is '
      f'damaged. {remedy}'
    ) from error

  def where(index: int) -> str:
    before = {name: 0 for _, name, _ in shards}
    for path, name, count in shards:
      first, index = before[name] + 1, index - count
      before[name] += count
      if index < 0:
        return f'{path} (films {first} to {before[name]} of {name})'
    return folder

  return builder, Records(found, where, remedy)
