"""Painting over what a heat map calls hot, and what the net then says.

The pixels of the net's input are painted over, the hottest of the map first
(deletion), or brought back into an input that is painted over (insertion;
Petsiuk et al. 2018).
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax.core import ids
from boneage_jax.core import scalars
from boneage_jax.core import stages
from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.data import splits
from boneage_jax.regions import gradcam
from boneage_jax.runs import run as run_lib
from boneage_jax.training import restore

BATCH, STEPS = 16, 20
MAPS = (*gradcam.METHODS, 'centre', 'random')
CURVES = ('deletion', 'insertion')
SPREAD = 0.25  # of the centre prior, in sides


def ranks(
  heat: np.ndarray, size_hw: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
  """Return the share of pixels that are hotter, float32 [H, W].

  Args:
    heat: [h, w] over the net's input.
    size_hw: height and width of the input.
    rng: decides between equal pixels, such as those of no heat.
  """
  heat = cv2.resize(np.asarray(heat, np.float32), size_hw[::-1])
  order = np.lexsort((rng.random(heat.size), -heat.ravel()))
  out = np.empty(heat.size, np.float32)
  out[order] = np.arange(heat.size) / heat.size
  return out.reshape(size_hw)


def fill(image: np.ndarray, kind: str) -> np.ndarray:
  """Return what stands for nothing: the blurred image, or its median."""
  if kind == 'blur':
    return cv2.GaussianBlur(image, (0, 0), 0.1 * len(image))
  return np.full_like(image, np.median(image))


def make_maps(
  graph: Any, target: str, mirror: bool
) -> Callable[..., dict[str, jax.Array]]:
  """Compile `maps(variables, batch)`: method -> heat [B, m, n]."""

  @jax.jit
  def maps(variables, batch):
    net = restore.merge(graph, variables)
    return {
      method: gradcam.input_maps(net, batch, target, method, mirror)
      for method in gradcam.METHODS
    }

  return maps


def make_ages(graph: Any, steps: int = STEPS) -> Callable[..., jax.Array]:
  """Compile `ages(variables, image, fill, ranks, inputs)` of a net.

  Gives months [steps + 1, B]: at step k the pixels whose rank is below
  k / steps are those of `fill`.
  """

  @jax.jit
  def ages(variables, image, fill, ranks, inputs):
    net = restore.merge(graph, variables)

    def at(step):
      painted = ranks[..., None] < step / steps
      batch = {'image': jnp.where(painted, fill, image), **inputs}
      return net(batch)['age']

    return jax.lax.map(at, jnp.arange(steps + 1))

  return ages


class Judge:
  """The net of a run with its maps.

  Attributes:
    run, stage: whose net it is.
    input: what it reads of films.
    target, mirror: of its maps, as a locate stage makes them of this net.
    method: of such a stage, else 'grad_cam'.

  Raises:
    ValueError: an ensemble, or a net that has no maps.
  """

  def __init__(
    self,
    run: run_lib.Run,
    batch_size: int = BATCH,
    maps_of: 'Judge | None' = None,
  ):
    """Load the net of a run; `maps_of` has others' target, mirror, method."""
    self.workdir, stage = os.path.split(run.folder)
    if run.config is None or run.config[stage].job != 'train':
      raise ValueError(
        f'Expected a run of one net, got the ensemble {run.name}; name a '
        'member as RUN:STAGE, or a fold as RUN/fold_0:STAGE.'
      )
    one = stages.Stage(run.config, stage, self.workdir).whole_film_stage()
    if run.config[one.name].get('task', 'age') != 'age':
      raise ValueError(
        f'Expected a net that tells ages from whole films, got {run.name}, '
        'which reads regions of registered films: no heat map found them.'
      )
    if one.name != stage:
      stage = one.name
      run = run_lib.read_run(self.workdir, stage)
    self.run, self.stage, self.batch_size = run, stage, batch_size
    section = run.config[stage]
    if section.net.name != 'age_net' or section.net.output == 'classes':
      raise ValueError(f'Expected an age net of whole films at {run.name}.')
    self.input = section.input
    self.target, self.mirror, self.method = 'age', False, gradcam.METHODS[0]
    if section.net.output == 'bins' and section.net.readout == 'argmax':
      self.target = 'window'  # the age has no gradient
    for other in stages.sections(run.config).values():
      if other.job == 'locate' and other.localizer == stage:
        self.target, self.mirror = other.target, other.mirror
        self.method = other.method
    if maps_of:
      self.target, self.mirror = maps_of.target, maps_of.mirror
      self.method = maps_of.method
    graph, variables = restore.load_net(run.config, stage, self.workdir)
    self._variables = jax.device_put(variables, jax.local_devices()[0])
    self._maps = make_maps(graph, self.target, self.mirror)
    self._ages = make_ages(graph)

  def source(
    self, names: Sequence[str], count: int | None = None
  ) -> tuple[film_table.Films, Any]:
    """Open films of some splits, of `count` of them by a hash of the id.

    Returns:
      Their table, and their records.

    Raises:
      ValueError: there are none.
    """
    films, _ = selection.split_films(
      self.run.config, self.workdir, self.input.builder_config
    )
    films = selection.of_sex(films, self.run.config[self.stage])
    films = film_table.select(films, np.isin(films['split'], names))
    if not len(films['id']):
      raise ValueError(f'Expected films of {names} in {self.run.name}.')
    films = film_table.select(films, splits.some(films['id'], count))
    config = self.run.config
    return films, selection.stage_source(
      config, self.stage, self.workdir, films, features=False
    )

  def look(
    self, records: Sequence[Mapping[str, Any]]
  ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return image and inputs of at most a batch, padded, and its maps.

    Maps are those of MAPS: name -> [B, m, n].
    """
    rows = [preprocess.make_example(record, self.input) for record in records]
    seeds = [ids.number(record['id']) for record in records]
    rows += rows[-1:] * (self.batch_size - len(rows))
    seeds += seeds[-1:] * (self.batch_size - len(seeds))
    names = ('image', 'sex', *scalars.of(rows[0]))
    batch = {n: np.stack([row[n] for row in rows]) for n in names}
    maps = jax.device_get(self._maps(self._variables, batch))
    shape = maps[gradcam.METHODS[0]].shape
    along = [(np.arange(n) + 0.5) / n - 0.5 for n in shape[1:]]
    along = [np.exp(-0.5 * (x / SPREAD) ** 2) for x in along]
    maps['centre'] = np.broadcast_to(np.outer(*along), shape)
    maps['random'] = np.stack(
      [np.random.default_rng(seed).random(shape[1:]) for seed in seeds]
    )
    return batch, maps

  def curves(
    self, batch: Mapping[str, np.ndarray], heat: np.ndarray, kind: str
  ) -> np.ndarray:
    """Return |change of age| of CURVES, months [2, B, STEPS + 1]."""
    image, rng = batch['image'], np.random.default_rng(0)
    rank = np.stack([ranks(h, image.shape[1:3], rng) for h in heat])
    painted = np.stack([fill(i[..., 0], kind) for i in image])[..., None]
    inputs = {name: batch[name] for name in batch if name != 'image'}
    ages = [
      np.asarray(self._ages(self._variables, *pair, rank, inputs)).T
      for pair in ((image, painted), (painted, image))
    ]
    return np.abs(np.stack(ages) - ages[0][None, :, :1])
