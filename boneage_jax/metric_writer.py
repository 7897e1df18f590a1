"""Scalars of a run: JSON lines always, TensorBoard beside them."""

import json
import os

from boneage_jax import files


class MetricWriter:
  """Append `{"step": ..., name: value}` rows to `folder/metrics.jsonl`.

  Rows after `start` (left by a run that was killed behind its last
  checkpoint) are dropped, so that a resumed file equals an uninterrupted one.
  TensorBoard events go to `folder/tensorboard`.
  """

  def __init__(self, folder: str, start: int):
    self._folder = folder
    self._here = files.here(folder)  # what is in a bucket cannot grow
    rows = read(os.path.join(folder, 'metrics.jsonl'))
    kept = [row for row in rows if row['step'] <= start]
    self._path = os.path.join(self._here, 'metrics.jsonl')
    with files.replacing(self._path) as f:
      f.writelines(json.dumps(row) + '\n' for row in kept)
    import tensorboardX

    self._board = tensorboardX.SummaryWriter(
      os.path.join(self._here, 'tensorboard'), purge_step=start + 1
    )

  def write(self, step: int, **scalars: float) -> None:
    """Write one row; values are Python numbers."""
    with open(self._path, 'a') as f:
      f.write(json.dumps({'step': step, **scalars}) + '\n')
    for name, value in scalars.items():
      self._board.add_scalar(name, value, step)

  def publish(self) -> None:
    """Copy everything to the bucket, where the folder is in one."""
    if self._here == self._folder:
      return
    self._board.flush()
    for name in ('metrics.jsonl', 'tensorboard/*'):
      for path in files.glob(os.path.join(self._here, name)):
        files.put(path, path.replace(self._here, self._folder))

  def close(self) -> None:
    self._board.close()
    self.publish()


def read(path: str) -> list[dict]:
  """Rows of a metrics.jsonl; a last line cut short by a kill is left out."""
  if not files.exists(path):
    return []
  rows = []
  with files.reading(path) as f:
    for line in f:
      if not line.endswith('\n'):
        break
      rows.append(json.loads(line))
  return rows
