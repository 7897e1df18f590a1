"""Class activation maps that the net pools by itself: the head of Liao 2022."""

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.models.heads import age as age_head

POOLS = ('cam', 'cam_mean')  # weighted by attention, or the plain mean
WINDOW = 5  # months from an age to the ends of its window (Chen 2020)


def spatial_softmax(maps: jax.Array) -> jax.Array:
  """Softmax over the positions of maps [B,h,w] or [B,h,w,K], float32."""
  return jax.nn.softmax(maps.astype(jnp.float32), axis=(1, 2))


def near_age(age: jax.Array, bins: int, months: int = WINDOW) -> jax.Array:
  """Say which bins k lie in [age - months, age + months), bool [B,bins].

  These are 2 `months` bins about the bin of each age [B], the upper end left
  out, as in the authors' code of Chen 2020. The window is cut at the ends of
  the scale, and no gradient flows through it.
  """
  age = jax.lax.stop_gradient(age.astype(jnp.float32))
  centre = jnp.clip(jnp.round(age), 0, bins - 1)
  away = jnp.arange(bins) - centre[:, None]
  return (away >= -months) & (away < months)


def window_map(maps: jax.Array, age: jax.Array) -> jax.Array:
  """Return the mean map [B,h,w] of the bins in the window of `age` [B]."""
  near = near_age(age, maps.shape[-1]).astype(jnp.float32)
  near /= jnp.sum(near, -1, keepdims=True)
  return jnp.einsum('bhwk,bk->bhw', maps, near)


def attention(outputs: dict[str, jax.Array]) -> jax.Array:
  """Say where a net looked for its answer.

  Args:
    outputs: `maps` [B,h,w,K] and what was read from them: `age` of one map or
      of bins, else the `logits` of classes.

  Returns:
    [B,h,w], sum 1: the softmax of the map of the answer; of bins, the mean map
    in the window of it, see `near_age`.
  """
  maps = outputs['maps']
  if maps.shape[-1] == 1:
    return spatial_softmax(maps[..., 0])
  if 'age' in outputs:
    return spatial_softmax(window_map(maps, outputs['age']))
  best = jnp.argmax(outputs['logits'], -1)[:, None, None, None]
  return spatial_softmax(jnp.take_along_axis(maps, best, -1)[..., 0])


class CamHead(nnx.Module):
  """Map and sex to an age or a class, through one map per output.

  M_c = sum_k W_ck F_k + b_c. Weighted, an output is sum_ij A_c M_c with
  A_c = softmax_ij M_c; else it is the mean of M_c, which is global average
  pooling and a linear layer (Liao 2022, and the authors' code). Sex, coded as
  in age.AgeHead, adds a linear term; the paper has none.

  output: 'bins' or 'scalar' as in age.AgeHead, or 'classes', `logits` [B,C].
  """

  def __init__(
    self,
    channels: int,
    *,
    weighted: bool = True,
    output: str = 'bins',
    readout: str = 'expectation',
    classes: int = 0,
    sex_features: int = 0,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
  ):
    count = {'bins': age_head.BINS, 'scalar': 1, 'classes': classes}.get(output)
    if count is None:
      raise ValueError(
        f"net.output={output!r} is unknown; choose 'bins', 'scalar' or "
        "'classes'."
      )
    if count < 1:
      raise ValueError(
        f"net.output='classes' needs net.classes, the number, got {classes}."
      )
    self.weighted, self.output, self.readout = weighted, output, readout
    self.dropout = nnx.Dropout(dropout)
    self.fc = age_head.linear(channels, count, rngs=rngs)
    if output == 'scalar':
      self.fc.bias[...] = jnp.full((1,), age_head.MEAN_AGE)
    self.has_sex = sex_features > 0
    if self.has_sex:
      self.sex = age_head.linear(1, sex_features, rngs=rngs)
      self.sex_fc = age_head.linear(
        sex_features, count, use_bias=False, rngs=rngs
      )

  def __call__(self, features, inputs, rngs=None):
    maps = self.fc(self.dropout(features.astype(jnp.float32), rngs=rngs))
    if self.weighted:
      out = jnp.sum(spatial_softmax(maps) * maps, (1, 2))
    else:
      out = jnp.mean(maps, (1, 2))
    if self.has_sex:
      e = self.sex(inputs['sex'].astype(jnp.float32)[:, None])
      out += self.sex_fc(e)
    outputs = {'maps': maps}
    if self.output == 'scalar':
      outputs['age'] = out[:, 0]
    else:
      outputs['logits'] = out
    if self.output == 'bins':
      outputs['age'] = age_head.read_age(out, self.readout)
    return outputs | {'attention': attention(outputs)}
