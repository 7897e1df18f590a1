"""Jobs that do nothing but say that they are done."""

import json
import pathlib

from boneage_jax.workflow import jobs as jobs_lib


def replace(monkeypatch, prepared, fail='', half=''):
  """Replace the jobs; gives the list of those that ran.

  Args:
    monkeypatch: of pytest.
    prepared: folder of the data that `prepare` gives.
    fail: the stage that ends with an error.
    half: the stage that ends so once it has written a checkpoint.
  """
  ran = []

  def job(config, stage, workdir):
    ran.append(stage)
    folder = pathlib.Path(workdir, stage)
    if stage == half:
      (folder / 'checkpoints/latest/8').mkdir(parents=True)
    if stage in (fail, half):
      raise ValueError('stopped')
    folder.mkdir(parents=True, exist_ok=True)
    done = {'prepare': {'folders': {'original': prepared}}}.get(stage, {})
    if config[stage].job not in jobs_lib.REDONE:
      (folder / 'done.json').write_text(json.dumps(done))

  monkeypatch.setattr(jobs_lib, 'JOBS', dict.fromkeys(jobs_lib.JOBS, job))
  return ran
