"""Class activation maps: where in the film an age net looks.

Grad-CAM needs only what every age net has, see `models.net`: `features`, `head`
and `grid_geometry`, no hooks and no layer names. The net must be in eval mode,
so that batch statistics and dropout are frozen.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
from jax import numpy as jnp
import numpy as np

from boneage_jax.models import net as net_lib
from boneage_jax.models.backbones import base
from boneage_jax.models.heads import cam as cam_head
from boneage_jax.training import restore

TARGETS = ('window', 'probability', 'age')
METHODS = ('grad_cam', 'hires_cam')


def cam(features: jax.Array, kernel: jax.Array) -> jax.Array:
  """Return the class activation map of a linear head, without relu.

  With global average pooling the mean of the map plus the bias is the logit.

  Args:
    features: [B, h, w, C].
    kernel: [C] or [C, K], the weights of the linear layer.

  Returns:
    [B, h, w] or [B, h, w, K] float32 (Zhou 2016).
  """
  if kernel.shape[0] != features.shape[-1]:
    raise ValueError(
      f'The kernel has {kernel.shape[0]} rows for {features.shape[-1]}'
      ' channels: CAM holds only where the linear layer sees the pooled map'
      ' alone; use grad_cam instead.'
    )
  return jnp.tensordot(
    features.astype(jnp.float32), kernel.astype(jnp.float32), 1
  )


def grad_cam(
  net: Any,
  batch: Mapping[str, jax.Array],
  target: str = 'window',
  half_window: int = cam_head.WINDOW,
  method: str = 'grad_cam',
) -> tuple[net_lib.Maps, net_lib.Outputs]:
  """Return relu(sum_k w_k F_k), w_k the spatial mean of d target / d F_k.

  The target is summed over the batch, so one backward pass through the head
  gives every film's own map (films do not mix in eval mode).

  Args:
    net: an age net in eval mode.
    batch: as the net takes it.
    target: 'window', the mean logit of the bins within `half_window` months of
      the estimate, cut at the ends of the scale (Chen 2020); 'probability',
      the log of their summed softmax, for nets whose logits are a softmax's and
      so mean nothing but relative to each other; or 'age', the predicted age,
      for nets without bins too.
    half_window: months either side.
    method: 'grad_cam' (Selvaraju 2017), or 'hires_cam', which leaves the
      gradient where it is instead of its mean (Draelos and Carin 2020). Both
      agree behind global average pooling and a linear head; behind maximum
      pooling only the second shows what the net read.

  Returns:
    Maps [B, h, w] float32, >= 0, by stream where `features` has streams, and
    the outputs of the head.
  """
  if target not in TARGETS:
    raise ValueError(f'The target is one of {TARGETS}, got {target!r}.')
  if method not in METHODS:
    raise ValueError(f'The method is one of {METHODS}, got {method!r}.')
  # Float32 keeps the gradient exact where the backbone is bfloat16.
  features = jax.tree.map(lambda x: x.astype(jnp.float32), net.features(batch))

  def score(features):
    outputs = net.head(features, net.scalars(batch))
    if target == 'age':
      value = outputs['age']
    else:
      value = window_score(outputs, half_window, target == 'probability')
    return jnp.sum(value.astype(jnp.float32)), outputs

  gradient, outputs = jax.grad(score, has_aux=True)(features)

  def weigh(gradient, features):
    if method == 'grad_cam':
      gradient = jnp.mean(gradient, (1, 2), keepdims=True)
    return jax.nn.relu(jnp.sum(gradient * features, -1))

  return jax.tree.map(weigh, gradient, features), outputs


def window_score(
  outputs: dict[str, jax.Array],
  half_window: int = cam_head.WINDOW,
  probability: bool = False,
) -> jax.Array:
  """Return the mean logit of the bins within `half_window` of the estimate.

  Args:
    outputs: `logits` [B, K] and `age` [B] months.
    half_window: months either side of the estimate's bin.
    probability: the log of the bins' summed softmax instead.

  Returns:
    [B] float32; no gradient flows through the choice of the window.
  """
  if 'logits' not in outputs:
    raise ValueError(
      "The targets 'window' and 'probability' need `logits`, but the head"
      f" gives {sorted(outputs)}: use target='age' or a head with bins."
    )
  logits = outputs['logits'].astype(jnp.float32)
  window = cam_head.near_age(outputs['age'], logits.shape[-1], half_window)
  if probability:
    inside = jax.nn.logsumexp(logits, -1, where=window)
    return inside - jax.nn.logsumexp(logits, -1)
  return jnp.mean(logits, -1, where=window)


def to_input(
  maps: jax.Array, grid: base.Grid, size_hw: tuple[int, int]
) -> jax.Array:
  """Redraw maps so that they cover the net's input evenly, bilinear.

  Args:
    maps: [B, h, w].
    grid: (step, first) of the map's positions along y and along x, in pixels,
      as `grid_geometry` of the net gives them.
    size_hw: height and width of the input in pixels.

  Returns:
    [B, m, n] float32 with about 2 size / step values along each axis: two for
    one. Beyond the outermost positions their values go on.
  """

  def along(size: int, step: int, first: float) -> jax.Array:
    count = max(1, round(2 * size / step))
    centres = (jnp.arange(count) + 0.5) * (size / count)
    return (centres - first) / step

  axes = (along(n, *axis) for n, axis in zip(size_hw, grid, strict=True))
  places = jnp.stack(jnp.meshgrid(*axes, indexing='ij'))
  sample = lambda m: jax.scipy.ndimage.map_coordinates(
    m, places, order=1, mode='nearest'
  )
  return jax.vmap(sample)(maps.astype(jnp.float32))


def input_maps(
  net: Any,
  batch: Mapping[str, jax.Array],
  target: str,
  method: str,
  mirror: bool,
) -> net_lib.Maps:
  """Return `grad_cam`'s maps as they lie over the net's input.

  Args:
    net: an age net in eval mode.
    batch: `image` [B, H, W, 1] or `regions` [B, R, H, W, 1], and scalars.
    target, method: of `grad_cam`.
    mirror: average with the map of the film mirrored left and right, each
      film's two maps brought to the same sum. What the net reads only by
      chance of the orientation fades.

  Returns:
    [B, m, n] float32, >= 0, see `to_input` for m and n; by stream where the net
    has streams.
  """
  name = 'regions' if 'regions' in batch else 'image'
  pixels = batch[name]
  size_hw = pixels.shape[-3:-1]
  grid = net.grid_geometry(size_hw)

  def look(pixels):
    maps, _ = grad_cam(net, {**batch, name: pixels}, target, method=method)
    if isinstance(maps, dict):
      return {k: to_input(maps[k], grid[k], size_hw) for k in maps}
    return to_input(maps, grid, size_hw)

  def merge(plain, mirrored):
    both = jnp.stack([plain, mirrored[:, :, ::-1]])
    total = jnp.sum(both, (2, 3), keepdims=True)
    return jnp.mean(both / jnp.where(total > 0, total, 1), 0)

  if not mirror:
    return look(pixels)
  return jax.tree.map(merge, look(pixels), look(pixels[..., ::-1, :]))


def make_maps(
  graph: Any, variables: dict[str, Any], options: Any
) -> Callable[[np.ndarray, dict[str, np.ndarray]], np.ndarray]:
  """Compile `predict_maps(image, inputs)` for `localize.find_regions`."""
  maps = compile_maps(graph, options)
  return lambda image, inputs: jax.device_get(
    maps(variables, {'image': image, **inputs})
  )


def compile_maps(
  graph: Any, options: Any
) -> Callable[[dict[str, Any], dict[str, jax.Array]], jax.Array]:
  """Compile `maps(variables, batch)`, of `image` and the net's inputs."""

  @jax.jit
  def maps(variables, batch):
    net = restore.merge(graph, variables)
    return input_maps(
      net, batch, options.target, options.method, options.mirror
    )

  return maps
