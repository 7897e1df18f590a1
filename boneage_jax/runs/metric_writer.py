"""Scalars of a run: JSON lines always, TensorBoard beside them."""

import json
import os
import statistics

from boneage_jax.core import storage

METRICS, SPEED = FILES = ('metrics.jsonl', 'speed.jsonl')


class MetricWriter:
  """Append `{"step": ..., name: value}` rows to `folder/metrics.jsonl`.

  Rows after `start` (left by a run that was killed behind its last
  checkpoint) are dropped, so that a resumed file equals an uninterrupted one.
  What no two runs share, the time that steps took, goes to `speed.jsonl`.
  TensorBoard events go to `folder/tensorboard`.
  """

  def __init__(self, folder: str, start: int):
    self._folder = folder
    self._here = storage.here(folder)  # what is in a bucket cannot grow
    for name in FILES:
      rows = read_metrics(os.path.join(folder, name))
      with storage.replacing(os.path.join(self._here, name)) as f:
        f.writelines(json.dumps(r) + '\n' for r in rows if r['step'] <= start)
    import tensorboardX

    with storage.writing(self._folder):
      self._board = tensorboardX.SummaryWriter(
        os.path.join(self._here, 'tensorboard'), purge_step=start + 1
      )

  def write(self, step: int, **scalars: float) -> None:
    """Write one row; values are Python numbers."""
    self._append(METRICS, step, scalars)
    with storage.writing(self._folder):
      for name, value in scalars.items():
        self._board.add_scalar(name, value, step)

  def write_speed(
    self, step: int, films: int, seconds: float, validation_seconds: float
  ) -> None:
    """Write what the steps since the last row took."""
    row = dict(films=films, seconds=seconds)
    self._append(SPEED, step, row | {'validation_seconds': validation_seconds})
    with storage.writing(self._folder):
      self._board.add_scalar('films_per_second', films / seconds, step)

  def publish(self) -> None:
    """Copy everything to the bucket, where the folder is in one."""
    if self._here == self._folder:
      return
    self._board.flush()
    for name in (*FILES, 'tensorboard/*'):
      for path in storage.glob(self._here, name):
        storage.put(path, path.replace(self._here, self._folder))

  def close(self) -> None:
    """Write what is left."""
    with storage.writing(self._folder):
      self._board.close()
    self.publish()

  def _append(self, name: str, step: int, row: dict[str, float]) -> None:
    path = os.path.join(self._here, name)
    with storage.writing(path), open(path, 'a') as file:
      file.write(json.dumps({'step': step, **row}) + '\n')


def read_metrics(path: str) -> list[dict]:
  """Rows of a metrics.jsonl; a last line cut short by a kill is left out.

  Raises:
    ValueError: another line is damaged; names it.
  """
  if not storage.exists(path):
    return []
  rows = []
  with storage.naming(path), storage.reading(path) as file:
    for number, line in enumerate(file, start=1):
      if not line.endswith('\n'):
        break
      try:
        rows.append(json.loads(line))
        float(rows[-1]['step'])
      except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f'line {number}: {error}') from error
  return rows


def speed(folder: str) -> tuple[float | None, float] | None:
  """Films per second of a stage's steps, and minutes with its validations.

  The rate is the median over the rows but the first, which compiles; None
  where there is no other. None alone where the folder tells no times.
  """
  rows = read_metrics(os.path.join(folder, SPEED))
  if not rows:
    return None
  with storage.naming(os.path.join(folder, SPEED)):
    rates = [row['films'] / row['seconds'] for row in rows[1:]]
    took = sum(row['seconds'] + row['validation_seconds'] for row in rows)
  return statistics.median(rates) if rates else None, took / 60
