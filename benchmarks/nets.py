"""The nets of the benchmarks: ours, ready to be stepped or called.

Peers are given the same shapes and the same head: map, pool, sex, 240 bins.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import importlib
from typing import Any

from flax import nnx
import jax
from ml_collections import ConfigDict
import numpy as np

from boneage_jax import models
from boneage_jax.core import distributed
from boneage_jax.core import sizes
from boneage_jax.models import ops
from boneage_jax.training import forward
from boneage_jax.training import optimizers
from boneage_jax.training import step as train_step
from boneage_jax.training.losses import age as age_losses
from configs import cascade
from configs import common

BACKBONES = {
  'inception_v3': {'name': 'inception_v3', 'width': 1.0},
  'xception': {'name': 'xception', 'width': 1.0},
  'resnet50': {'name': 'resnet', 'depth': 50, 'width': 1.0},
}
# Of configs/cascade.py:phantom, at their own size: nets without peers.
SMALL = {'phantom_localizer': 'localizer', 'phantom_assessor': 'assessor'}
NETS = (*BACKBONES, 'two_stream', *SMALL)
LOSS = functools.partial(
  age_losses.label_distribution, delta=10.0, kl_weight=1.0
)


def config(name: str, dtype: str, variant: str) -> ConfigDict:
  """The net section of a config; `variant` is ResNet's published form."""
  if name in SMALL:
    net = cascade.get_config('phantom')[SMALL[name]].net
    net.dtype = dtype
    return net
  backbones = {k: ConfigDict(v) for k, v in BACKBONES.items()}
  backbones['resnet50'].variant = variant
  common_fields = {
    'output': 'bins',
    'readout': 'expectation',
    'sex_features': 32,
    'dropout': 0.0,
    'bn_momentum': 0.0,
    'dtype': dtype,
  }
  if name == 'two_stream':
    return ConfigDict(
      {
        'name': 'two_stream',
        'carpal': backbones['xception'],
        'metacarpal': backbones['resnet50'],
        'exchange': 'none',
        'pool': 'conv_pool',
        **common_fields,
      }
    )
  return ConfigDict(
    {
      'name': 'age_net',
      'backbone': backbones[name],
      'pool': 'gap',
      **common_fields,
    }
  )


def examples(
  name: str, size: int | Sequence[int], batch: int
) -> dict[str, np.ndarray]:
  """Return a batch of noise in the form of the input pipeline.

  The nets of `SMALL` keep the size and batch of their config.
  """
  if name in SMALL:
    stage = cascade.get_config('phantom')[SMALL[name]]
    size, batch = stage.input.size, stage.batch_size
  rng = np.random.default_rng(0)
  two = name in ('two_stream', 'phantom_assessor')
  key, shape = ('regions', (batch, 2)) if two else ('image', (batch,))
  return {
    key: rng.integers(0, 256, (*shape, *sizes.size_hw(size), 1), np.uint8),
    'sex': np.where(np.arange(batch) % 2, 1, -1).astype(np.float32),
    'age': rng.uniform(1, 228, batch).astype(np.float32),
    'valid': np.ones(batch, np.float32),
  }


def images(batch: dict[str, np.ndarray]) -> list[np.ndarray]:
  """Return the float32 [B, H, W, 3] images that a peer takes, in [-1, 1]."""
  grey = batch['regions'] if 'regions' in batch else batch['image'][:, None]
  colour = np.repeat(grey / np.float32(127.5) - 1, 3, -1)
  return [np.ascontiguousarray(colour[:, i]) for i in range(colour.shape[1])]


def trainer(
  net: ConfigDict, batch: dict[str, np.ndarray], ema: float = 0.0
) -> Callable[[], None]:
  """Return one training step of ours, the step that main runs."""
  mesh = distributed.make_mesh()
  graph, shapes, _ = train_step.abstract_net(net, _size(batch))
  section = ConfigDict(common.optimizer())
  tx, _ = optimizers.create(section, shapes, 1000)
  state = train_step.create_state(net, _size(batch), 0, tx, ema, mesh)
  step = train_step.make_train_step(
    graph, LOSS, tx, ema=ema, seed=0, freeze_statistics=False, mesh=mesh
  )
  batch = jax.device_put(batch)

  def run() -> None:
    nonlocal state
    state, scalars = step(state, batch)
    jax.block_until_ready((state, scalars))

  return run


def predictor(
  net: ConfigDict, batch: dict[str, np.ndarray]
) -> Callable[[], None]:
  """Return inference of ours, the function that predict runs."""
  graph, params, stats = train_step.split(models.create(net, size=_size(batch)))
  predict = forward.make_predict(graph)
  variables = {'params': params, 'batch_stats': stats}
  batch = jax.device_put(batch)
  return lambda: jax.block_until_ready(predict(variables, batch))


def peer(kind: str, name: str, batch: dict[str, np.ndarray], dtype: str) -> Any:
  """Return the same net of a peer, or the reason why it cannot be had.

  Args:
    kind: 'keras', 'torch' or 'none'.
    name: of the net.
    batch: of `examples`.
    dtype: 'float32' or 'bfloat16' (mixed precision of the peer's own kind).

  Returns:
    An object with `train()` and `predict()`, or a string.
  """
  if kind == 'none' or name in SMALL:
    return 'no peer'
  try:
    module = importlib.import_module(f'benchmarks.peers_{kind}')
    return module.Net(name, batch, dtype)
  except (ImportError, OSError, RuntimeError) as error:
    return f'missing: {str(error).splitlines()[0]}'


def flops(net: ConfigDict, batch: dict[str, np.ndarray]) -> float:
  """Count the operations of a forward pass in its native form."""
  form, ops.FORM = ops.FORM, 'native'
  try:
    graph, params, stats = train_step.split(
      nnx.eval_shape(lambda: models.create(net, size=_size(batch)))
    )
    predict = forward.make_predict(graph)
    variables = {'params': params, 'batch_stats': stats}
    return predict.lower(variables, batch).cost_analysis()['flops']
  finally:
    ops.FORM = form


def _size(batch: dict[str, np.ndarray]) -> tuple[int, int]:
  pixels = batch['image'] if 'image' in batch else batch['regions']
  return pixels.shape[-3:-1]
