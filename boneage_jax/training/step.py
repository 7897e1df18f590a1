"""The train state and one update of it: what all nets share on the device."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
from typing import Any

from flax import nnx
import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from boneage_jax import models
from boneage_jax.core import distributed
from boneage_jax.core import sizes
from boneage_jax.data import device_augment
from boneage_jax.models import layers
from boneage_jax.models import ops
from boneage_jax.models.heads import age_map
from boneage_jax.training import accumulation


@flax.struct.dataclass
class TrainState:
  """All that changes: plain nested dicts of arrays (`ema` is {} when off)."""

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  ema: Any

  @property
  def variables(self) -> dict[str, Any]:
    """What evaluation uses: averaged parameters with the live statistics."""
    return {
      'params': self.ema or self.params,
      'batch_stats': self.batch_stats,
    }


def split(net: nnx.Module) -> tuple[Any, dict, dict]:
  """Graph, parameters and BatchNorm statistics of a net, as plain dicts."""
  graph, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)
  return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def net_of(section: Any) -> tuple[Any, tuple[int, int]]:
  """Return what builds the net that a stage trains: its config and size.

  Args:
    section: of the stage; with `input.features_from`, its net reads maps in the
      place of films and is without its backbone.

  Raises:
    ValueError: training sees crops, and the net gives no map of larger films.
  """
  net = section.net
  maps = net.name == 'age_net' and net.pool in age_map.POOLS
  if section.input.get('crop') and not maps:
    raise ValueError(
      f'Expected an age_net with a pool among {", ".join(age_map.POOLS)} for '
      f'input.crop={section.input.crop}, as films that judge are larger than '
      f'crops, got {net.name} with {net.get("pool")!r}.'
    )
  if section.input.get('features_from'):
    net = ml_collections.ConfigDict({**net.to_dict(), 'from_features': True})
  return net, sizes.training_hw(section.input)


def abstract_net(
  net_config: Any, size: int | Sequence[int]
) -> tuple[Any, dict, dict]:
  """Graph of a net, and shapes of its parameters and statistics."""
  net = ml_collections.FrozenConfigDict(net_config)
  return _abstract_net(net, sizes.size_hw(size))


def inputs_of(section: Any) -> tuple[str, ...]:
  """Name the scalars of a batch that the net of a stage reads."""
  return getattr(nnx.merge(*abstract_net(*net_of(section))), 'inputs', ())


@functools.lru_cache(maxsize=8)  # nets of all folds are one
def _abstract_net(net: Any, size: tuple[int, int]) -> tuple[Any, dict, dict]:
  return split(nnx.eval_shape(lambda: models.create(net, size=size)))


def create_state(
  net_config: Any,
  size: int | Sequence[int],
  seed: int,
  tx: optax.GradientTransformation,
  ema: float,
  mesh: jax.sharding.Mesh,
  load: Callable[[dict, dict], tuple[dict, dict]] | None = None,
) -> TrainState:
  """Build the replicated train state of a fresh net.

  Args:
    load: replaces fresh parameters and statistics by pretrained ones.
  """
  _, params, stats = split(models.create(net_config, size=size, seed=seed))
  if load is not None:
    params, stats = load(params, stats)

  def init(params, stats):
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      batch_stats=stats,
      opt_state=tx.init(params),
      ema=jax.tree.map(jnp.copy, params) if ema else {},
    )

  return jax.jit(init, out_shardings=distributed.replicated(mesh))(
    params, stats
  )


def make_train_step(
  graph: Any,
  loss_fn: Callable,
  tx: optax.GradientTransformation,
  *,
  ema: float,
  seed: int,
  freeze_statistics: bool,
  mesh: jax.sharding.Mesh,
  slices: int = 1,
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
  """Compile one update; the state is donated and comes back updated.

  Args:
    slices: of the batch, whose gradients are accumulated; see accumulation.py.
  """
  seed_key = jax.random.key(seed)

  def mean_loss(params, stats, batch, key, count):
    net = nnx.merge(graph, params, stats, copy=True)
    net.train()
    if freeze_statistics:  # but not dropout
      layers.set_batch_norms(net, use_running_average=True)
    outputs = net(batch, rngs=nnx.Rngs(key))
    per_example, scalars = loss_fn(outputs, batch)
    mean = lambda x: jnp.sum(x * batch['valid']) / count
    stats = nnx.to_pure_dict(nnx.state(net, nnx.BatchStat))
    scalars = {k: mean(v) for k, v in scalars.items()}
    if 'age' in outputs:  # and not a class
      scalars['mae'] = mean(jnp.abs(outputs['age'] - batch['age']))
    return mean(per_example) + outputs.get('penalty', 0.0), (stats, scalars)

  gradient = accumulation.value_and_grad(mean_loss, slices)

  def step(state, batch):
    batch = device_augment.finish(batch)
    (loss, (stats, scalars)), grads = gradient(
      *(state.params, state.batch_stats, batch),
      jax.random.fold_in(seed_key, state.step),
      jnp.maximum(jnp.sum(batch['valid']), 1),
    )
    scalars['gradient_norm'] = optax.tree.norm(grads)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # Early averages would remember the initialisation for 1/(1-ema) steps.
    rate = jnp.maximum(1 - ema, 1 / (state.step + 1))
    average = (
      optax.incremental_update(params, state.ema, rate) if ema else state.ema
    )
    state = TrainState(
      step=state.step + 1,
      params=params,
      batch_stats=stats,
      opt_state=opt_state,
      ema=average,
    )
    return state, {'loss': loss, **scalars}

  return jax.jit(
    step,
    donate_argnums=0,
    out_shardings=(distributed.replicated(mesh), distributed.replicated(mesh)),
    compiler_options=ops.compiler_options(),
  )
