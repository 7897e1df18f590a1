"""All that a training needs before its first step."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import time
from typing import Any

import jax
import numpy as np
import optax

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_table
from boneage_jax.data import input_pipeline
from boneage_jax.data import selection
from boneage_jax.models.weights import load as load_weights
from boneage_jax.runs import checkpoints
from boneage_jax.training import attention_metrics
from boneage_jax.training import early_stopping
from boneage_jax.training import forward
from boneage_jax.training import initial_bias
from boneage_jax.training import losses
from boneage_jax.training import optimizers
from boneage_jax.training import prediction
from boneage_jax.training import preview
from boneage_jax.training import progress
from boneage_jax.training import restore
from boneage_jax.training import step as train_step
from boneage_jax.training import tasks


@dataclasses.dataclass
class Setup:
  """A training, ready to run from step `start` on.

  Attributes:
    folder: of the stage; gets checkpoints and logs.
    mesh: of all devices.
    task: see `tasks.Task`.
    films: all films of the stage, with their split.
    state: the train state; the loop replaces it.
    update: `update(state, batch) -> (state, scalars)`, jitted.
    predict: `predict(variables, batch)`, jitted; see `forward.make_predict`.
    rate: learning rate by the number of steps done.
    validation: the validation films.
    store: the checkpoints.
    start: the step of the newest checkpoint, 0 in a new run.
    total_steps, epoch_steps, eval_steps: of the training, of an epoch, and
      between validations.
    parameters: how many the net has.
    measure_attention: see `attention_metrics.measure`.
  """

  config: Any
  stage: str
  workdir: str
  folder: str
  mesh: jax.sharding.Mesh
  task: tasks.Task
  films: dict[str, np.ndarray]
  dataset: Any
  state: train_step.TrainState
  update: Callable
  predict: Callable
  rate: optax.Schedule
  validation: prediction.Split
  store: checkpoints.Checkpoints
  start: int
  total_steps: int
  epoch_steps: int
  eval_steps: int
  parameters: int
  measure_attention: Callable[[str, Any], None]

  @property
  def section(self) -> Any:
    """The section of the stage in the config."""
    return self.config[self.stage]

  def batches(self) -> Iterator[dict[str, np.ndarray]]:
    """Read the batches of the steps to come; close it to end its threads."""
    threads = self.section.input.threads
    return input_pipeline.iterate(self.dataset, self.start, threads)

  def place(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Bring a batch to the devices."""
    return input_pipeline.to_device(batch, self.mesh)

  def eval_due(self, step: int) -> bool:
    """Whether the net is validated after this step."""
    return step % self.eval_steps == 0 or step == self.total_steps

  def save_due(self, step: int) -> bool:
    """Whether the state is saved after this step."""
    return self.eval_due(step) or step % self.section.checkpoint_steps == 0

  def exhausted(self, step: int) -> bool:
    """Whether to stop early after this step, as the net gets no better."""
    best = self.store.best_since()
    return early_stopping.exhausted(self.section, step, best, self.eval_steps)

  def validate(self, step: int) -> progress.Validation:
    """Judge the net on the validation films; keep it if it is to be kept."""
    began = time.monotonic()
    rows = self.validation.predict(self.predict, self.state.variables)
    seconds = time.monotonic() - began
    error = self.task.error(rows, self.validation.films)
    last = self.section.checkpoint_selection == 'last'
    if step == self.total_steps if last else error <= self.store.best_error:
      self.store.save_best(step, self.state.variables, error)
    show = self.task.format_metric
    kept = 'keeps the last' if last else f'best {show(self.store.best_error)}'
    text = f'{show(error)} ({kept})'
    return progress.Validation(self.task.metric_name, error, text, seconds)

  def finish(self, step: int) -> None:
    """Predict with the net that was kept, and write the stage's files.

    Args:
      step: the last one.
    """
    variables = self.store.restore_best(self.state.variables)
    self.measure_attention('after', variables)
    self.task.write_predictions(
      *(self.config, self.stage, self.workdir),
      *(self.films, self.predict, variables),
    )
    done = {'step': step, 'best_step': self.store.best_step()}
    done['parameters'] = self.parameters
    self.store.wait()
    path = stages.path(self.workdir, self.stage, stages.DONE)
    distributed.on_main_process(lambda: storage.write_json(path, done))
    self.store.forget()


def create(config: Any, stage: str, workdir: str) -> Setup:
  """Prepare the training of a stage, or what is left of it.

  Raises:
    ValueError: unusable settings or data.
  """
  section, mesh = config[stage], distributed.make_mesh()
  task = tasks.create(section)
  task.check(config, stage)
  folder = stages.path(workdir, stage)
  storage.make_folder(folder)
  films = selection.stage_films(config, stage, workdir)
  film_table.check_inputs(films, train_step.inputs_of(section), stage)
  train_films = selection.training_films(config, films)
  again = selection.repeat_drawn(config, stage, workdir, train_films)
  source = selection.stage_source(config, stage, workdir, again)
  kinds = attention_metrics.training_kinds(section, stage, source)
  seed = config.seed + section.seed
  dataset = input_pipeline.train_dataset(
    source, section.input, section.batch_size, seed, masks=kinds
  )
  epoch_steps = max(len(train_films['id']) // section.batch_size, 1)
  total_steps = section.steps or epoch_steps * section.epochs
  store = checkpoints.Checkpoints(
    stages.path(workdir, stage, stages.CHECKPOINTS), mend=True
  )
  graph, rule, update, rate = make_update(
    section, seed, total_steps, mesh, bool(kinds)
  )
  begin = lambda load: train_step.create_state(
    *train_step.net_of(section), seed, rule, section.ema, mesh, load
  )
  state = None
  if store.latest_step() is not None or store.best_step() is not None:
    fresh = begin(None)
    state = store.go_on(fresh, fresh.variables)
  start = store.latest_step() or 0
  if state is None:
    state = begin(_loader(config, stage, workdir, train_films['age']))
  measure = attention_metrics.measure(config, stage, workdir, films, graph)
  if not start:
    measure('before', state.variables)
    distributed.on_main_process(
      lambda: preview.write(config, stage, workdir, train_films, kinds)
    )
  held_out = selection.select_split(films, 'validation')
  parameters = sum(x.size for x in jax.tree.leaves(state.params))
  distributed.print_once(
    f'{stage}: {parameters / 1e6:.2f} M parameters, {len(train_films["id"])} '
    f'training films, {total_steps} steps of {section.batch_size} films'
    + (f', going on from step {start}.' if start else '.')
  )
  return Setup(
    config=config,
    stage=stage,
    workdir=workdir,
    folder=folder,
    mesh=mesh,
    task=task,
    films=films,
    dataset=dataset,
    state=state,
    update=update,
    predict=forward.make_predict(graph, task.reduce),
    rate=rate,
    validation=prediction.Split(config, stage, workdir, held_out, mesh),
    store=store,
    start=start,
    total_steps=total_steps,
    epoch_steps=epoch_steps,
    eval_steps=section.eval_steps or epoch_steps,
    parameters=parameters,
    measure_attention=measure,
  )


def make_update(
  section: Any,
  seed: int,
  total_steps: int,
  mesh: jax.sharding.Mesh,
  guided: bool,
) -> tuple[Any, optax.GradientTransformation, Callable, optax.Schedule]:
  """Build a net with its loss and update rule, for training and compiling.

  Args:
    section: of the stage.
    seed: of the run and the stage together.
    total_steps: of the schedule.
    mesh: of the devices.
    guided: the loss guides the attention; batches then have `region_mask`.

  Returns:
    graph, update rule, the jitted update and the learning rate by step.
  """
  graph, shapes, _ = train_step.abstract_net(*train_step.net_of(section))
  rule, rate = optimizers.create(section.optimizer, shapes, total_steps)
  update = train_step.make_train_step(
    graph,
    losses.create(section, guided),
    rule,
    ema=section.ema,
    seed=seed,
    freeze_statistics=section.freeze_statistics,
    mesh=mesh,
    slices=section.accumulate,
  )
  return graph, rule, update, rate


def _loader(
  config: Any, stage: str, workdir: str, ages: np.ndarray
) -> Callable:
  """Return what replaces fresh weights: ImageNet's, another net's, or none.

  The last layer of a net that is no other's may start at the `ages`, months,
  of the training films.
  """
  section = config[stage]
  weights = {k: v for k, v in section.pretrained.items() if v.path}

  def load(params, stats):
    start = section.init_from
    if not start.run or start.only:
      if section.init_bias:
        params = initial_bias.begin(params, ages)
      params, stats = load_weights.load_into_net(
        weights, section.net, params, stats
      )
    if start.run:
      before = restore.initial_weights(config, stage, workdir)
      params, stats = restore.take((params, stats), before, start)
    return params, stats

  return load
