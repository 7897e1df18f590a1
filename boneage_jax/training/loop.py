"""The training loop, the same for every net."""

import collections
from concurrent import futures
import functools
import inspect
import math
import os
import signal
import sys
import time
from typing import Any

import jax
import numpy as np
import tqdm

from boneage_jax.core import distributed
from boneage_jax.core import storage
from boneage_jax.data import film_table
from boneage_jax.data import input_pipeline
from boneage_jax.data import selection
from boneage_jax.models.weights import load as load_weights
from boneage_jax.runs import checkpoints
from boneage_jax.runs import metric_writer
from boneage_jax.training import attention_metrics
from boneage_jax.training import forward
from boneage_jax.training import optimizers
from boneage_jax.training import prediction
from boneage_jax.training import restore
from boneage_jax.training import step as train_step
from boneage_jax.training.losses import age as age_losses
from boneage_jax.training.losses import attention as attention_losses
from boneage_jax.training.tasks import age as age_task
from boneage_jax.training.tasks import classification
from boneage_jax.training.tasks import orientation


class _Stop:
  """True once SIGTERM or SIGINT came; the loop then saves and leaves."""

  def __init__(self):
    self.signal = None
    self._previous = {
      s: signal.signal(s, self._on_signal)
      for s in (signal.SIGTERM, signal.SIGINT)
    }

  def _on_signal(self, number, frame):
    del frame
    self.signal = signal.Signals(number).name

  def restore(self):
    for number, handler in self._previous.items():
      signal.signal(number, handler)


def _check_finite(
  recent: list,
  films: film_table.Films,
  last_good: int | None,
  stage: str,
) -> None:
  """Raise with step and films at the first step that spoils the net."""
  for step, scalars, local_rows in recent:
    for name in ('loss', 'gradient_norm'):
      value = float(scalars[name])
      if math.isfinite(value):
        continue
      rows = distributed.all_gather_objects(local_rows.tolist())
      where = dict(
        zip(films['position'].tolist(), films['id'].tolist(), strict=True)
      )
      raise ValueError(
        f'{stage}: the {name} is {value} at step {step}, on films '
        f'{", ".join(where[row] for row in rows)}. Last good checkpoint: '
        f'{"none yet" if last_good is None else f"step {last_good}"}. Lower '
        f'--config.{stage}.optimizer.learning_rate, set '
        f'--config.{stage}.optimizer.grad_clip_norm=1.0, or look at these '
        'films.'
      )


def _when_ready(values: Any) -> float:
  jax.block_until_ready(values)
  return time.monotonic()


def train_and_evaluate(config: Any, stage: str, workdir: str) -> None:
  """Train the net of `config[stage]`; write its folder under `workdir`.

  Seeds and the step determine everything: a run that is killed and started
  again ends with the same parameters. Writes checkpoints, metrics.jsonl,
  predictions.csv, distributions.npz, attention.json where masks are named, and
  done.json (see README, What is there).

  Raises:
    ValueError: unusable settings or data, or a loss that is not finite.
  """
  section = config[stage]
  folder = os.path.join(workdir, stage)
  storage.make_folder(folder)
  mesh = distributed.make_mesh()
  films = selection.stage_films(config, stage, workdir)
  judge = age_task
  if section.net.get('output') == 'classes':
    judge = orientation if section.input.rotate90 else classification
    classification.check(config, stage)
  if section.checkpoint_selection not in ('best', 'last'):
    raise ValueError(
      f"Expected {stage}.checkpoint_selection to be 'best' or 'last', got "
      f'{section.checkpoint_selection!r}.'
    )
  keep_last = section.checkpoint_selection == 'last'
  train_films = selection.training_films(config, films)
  batch_size, seed = section.batch_size, config.seed + section.seed
  source = selection.stage_source(config, stage, workdir, train_films)
  kinds = attention_metrics.training_kinds(section, stage, source)
  dataset = input_pipeline.train_dataset(
    source, section.input, batch_size, seed, masks=kinds
  )
  epoch_steps = max(len(train_films['id']) // batch_size, 1)
  total_steps = section.steps or epoch_steps * section.epochs
  eval_steps = section.eval_steps or epoch_steps

  loss_args = section.loss.to_dict()
  loss_name = loss_args.pop('name')
  if loss_name not in age_losses.LOSSES:
    raise ValueError(
      f'{stage}.loss.name={loss_name!r} is unknown; choose one of '
      f'{sorted(age_losses.LOSSES)}.'
    )
  # --config.<stage>.loss.name=... leaves the fields of the former loss behind.
  accepted = inspect.signature(age_losses.LOSSES[loss_name]).parameters
  loss_args = {k: v for k, v in loss_args.items() if k in accepted}
  loss = functools.partial(age_losses.LOSSES[loss_name], **loss_args)
  if kinds:
    guidance = {k: v for k, v in section.guidance.items() if k != 'mask'}
    loss = attention_losses.guided(loss, **guidance)
  rate = None

  def optimizer(params):
    nonlocal rate
    rule, rate = optimizers.create(section.optimizer, params, total_steps)
    return rule

  store = checkpoints.Checkpoints(os.path.join(folder, 'checkpoints'))
  start = store.latest_step() or 0
  weights = {k: v for k, v in section.pretrained.items() if v.path}
  held_out = films['id'][films['split'] != 'train']

  def load(params, stats):
    if section.init_from.run:
      before = restore.initial_weights(config, stage, workdir, held_out)
      return restore.check_same_structure(
        (params, stats), before, section.init_from.run
      )
    return load_weights.load_into_net(weights, section.net, params, stats)

  graph, state, tx = train_step.create_state(
    section.net,
    section.input.size,
    seed,
    optimizer,
    section.ema,
    mesh,
    load=None if start else load,
  )
  if start:
    state = store.restore(state)
  update = train_step.make_train_step(
    graph,
    loss,
    tx,
    ema=section.ema,
    seed=seed,
    freeze_statistics=section.freeze_statistics,
    mesh=mesh,
  )
  predict = forward.make_predict(graph)
  validation = prediction.Split(
    config, stage, workdir, selection.select_split(films, 'validation'), mesh
  )
  look = attention_metrics.measure(config, stage, workdir, films, graph)
  if not start:
    look('before', state.variables)
  size = sum(x.size for x in jax.tree.leaves(state.params))
  distributed.print_once(
    f'{stage}: {size / 1e6:.2f} M parameters, {len(train_films["id"])} '
    f'training films, {total_steps} steps of {batch_size} films'
    + (f', going on from step {start}.' if start else '.')
  )

  lead = distributed.is_main_process()
  writer = metric_writer.MetricWriter(folder, start) if lead else None
  stop, vote = _Stop(), distributed.StopConsensus(mesh)
  recent: list[tuple[int, dict, np.ndarray]] = []
  bar = tqdm.tqdm(
    total=total_steps * batch_size,
    initial=start * batch_size,
    desc=stage,
    unit='film',
    disable=not lead or None,
    smoothing=0.05,
  )
  batches = input_pipeline.iterate(dataset, start, section.input.threads)
  began, waited = time.monotonic(), 0.0
  watch = futures.ThreadPoolExecutor(1)
  ends = collections.deque([watch.submit(time.monotonic)] * 2, maxlen=2)
  last_good = start or None
  done_step = start
  try:
    for step in range(start + 1, total_steps + 1):
      before = time.monotonic()
      batch = next(batches)
      if ends[-1].done():  # else the device, behind this loop, is at work
        waited += time.monotonic() - max(before, ends[-1].result())
      ends[0].result()  # two steps ahead at most, or SIGTERM would have to wait
      state, scalars = update(state, input_pipeline.to_device(batch, mesh))
      ends.append(watch.submit(_when_ready, scalars))
      recent.append((step, scalars, batch['id']))
      done_step = step
      bar.update(batch_size)
      finished = step == total_steps
      evaluated = step % eval_steps == 0 or finished
      stopping = vote(bool(stop.signal))
      saved = evaluated or step % section.checkpoint_steps == 0 or stopping
      if step % section.log_steps == 0 or saved:
        _check_finite(recent, films, last_good, stage)
        mean_loss = float(np.mean([float(s['loss']) for _, s, _ in recent]))
        row = {
          'epoch': round(step / epoch_steps, 4),
          'learning_rate': float(rate(step - 1)),
        }
        for name in scalars:
          row[f'train_{name}'] = float(
            np.mean([float(s[name]) for _, s, _ in recent])
          )
        seconds, validating = time.monotonic() - began, 0.0
        if evaluated:
          outputs = validation.predict(predict, state.variables)
          validating = time.monotonic() - began - seconds
          error = judge.error(outputs, validation.films)
          row[f'validation_{judge.METRIC}'] = error
          if finished if keep_last else error <= store.best_error:
            store.save_best(step, state.variables, error)
          if lead:
            best = judge.SHOWN.format(store.best_error)
            bar.write(
              f'{stage} step {step}/{total_steps}: loss {mean_loss:.3f}, '
              f'validation {judge.SHOWN.format(error)} '
              f'({"keeps the last" if keep_last else f"best {best}"}), '
              f'{len(recent) * batch_size / seconds:.1f} films/s, '
              f'{waited / seconds:.0%} of it waiting for data'
            )
        bar.set_postfix_str(f'loss {mean_loss:.3f}')
        if lead:
          writer.write(step, **row)
          writer.write_speed(
            step,
            films=len(recent) * batch_size,
            seconds=seconds,
            validation_seconds=validating,
          )
        recent.clear()
        began, waited = time.monotonic(), 0.0
      if saved:
        if lead:
          writer.publish()  # before: a run that goes on needs the rows
        store.save(step, state)
        last_good = step
      if stopping:
        break
  finally:
    bar.close()
    watch.shutdown()
    stop.restore()
    if lead:
      writer.close()
    store.wait()
    close = getattr(batches, 'close', None)
    if close is not None:
      close()
  if distributed.any_process(bool(stop.signal)):
    store.close()
    distributed.print_once(
      f'{stop.signal or "Asked to stop"}: saved step {done_step} of '
      f'{total_steps} in {folder}. Run the same command to go on.'
    )
    sys.exit(0)
  variables = store.restore_best(state.variables)
  look('after', variables)
  judge.write_predictions(config, stage, workdir, films, predict, variables)
  done = {'step': total_steps, 'best_step': store.best_step()}
  done['parameters'] = size
  store.close()
  path = os.path.join(folder, 'done.json')
  distributed.on_main_process(lambda: storage.write_json(path, done))
