"""The training loop, the same for every net."""

import contextlib
from typing import Any

from boneage_jax.training import preemption
from boneage_jax.training import profiling
from boneage_jax.training import progress
from boneage_jax.training import setup


def train_and_evaluate(config: Any, stage: str, workdir: str) -> None:
  """Train the net of `config[stage]`; write its folder under `workdir`.

  Seeds and the step determine everything: a run that is killed and started
  again ends with the same parameters. Without steps (`epochs=0`) the net of
  `init_from` is the stage's; see early_stopping.py for fewer steps than asked
  for. Writes checkpoints, metrics.jsonl, speed.jsonl, predictions.csv and what
  else the task writes, and done.json.

  Raises:
    ValueError: unusable settings or data, or a loss that is not finite.
    Preempted: SIGTERM or SIGINT came; the state is saved.
  """
  run = setup.create(config, stage, workdir)
  step = run.start
  with contextlib.ExitStack() as stack:
    stop = stack.enter_context(preemption.Listener(run.mesh))
    stack.callback(run.store.wait)
    log = stack.enter_context(progress.Progress(run))
    profile = stack.enter_context(profiling.Profile(run))
    batches = stack.enter_context(contextlib.closing(run.batches()))
    if not run.total_steps:
      run.validate(step)
    # One that stopped early, and was killed before it could finish, is over.
    over = run.exhausted(run.start)
    for step in () if over else range(run.start + 1, run.total_steps + 1):
      batch = log.clock.next(batches)
      with profile.step(step):
        run.state, scalars = run.update(run.state, run.place(batch))
      log.add(step, scalars, batch['id'])
      stopping = stop.requested()
      saving = run.save_due(step) or stopping
      if saving or log.due(step):
        log.check_finite()
        validation = run.validate(step) if run.eval_due(step) else None
        log.write(step, float(run.rate(step - 1)), validation)
      if saving:
        log.publish()  # before: a run that goes on needs the rows
        run.store.save(step, run.state)
        log.last_good = step
      if stopping or run.exhausted(step):
        break
  if stop.anywhere():
    run.store.close()
    raise preemption.Preempted(
      f'{stage}: {stop.signal or "Asked to stop"}: saved step {step} of '
      f'{run.total_steps} in {run.folder}. Run the same command to go on.'
    )
  run.finish(step)
