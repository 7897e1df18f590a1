"""From a feature map (and sex) to bone age in months."""

from collections.abc import Collection
from collections.abc import Sequence
import functools

from flax import nnx
import jax
import jax.numpy as jnp

from boneage_jax.core import scalars
from boneage_jax.models import layers

BINS = 240  # months 0..239: the bin's index is the age (RSNA spans 1 to 228)
# Months, RSNA training films: where a scalar head starts, and the unit of a
# standardized one.
MEAN_AGE, SD_AGE = 127.3, 41.2
HALF = 120.0  # months; -1 to 1 of a head of the output 'unit' are 0 to 240
OUTPUTS = ('bins', 'scalar', 'standardized', 'unit')
# Numbers that a head can tell beside the age, and how each follows from what
# its last layer says: the probability of a male.
EXTRA_OUTPUTS = {'p_male': jax.nn.sigmoid}
SCALAR_FEATURES = 32  # that further inputs become; as of sex (Chen 2020)


linear = functools.partial(nnx.Linear, kernel_init=layers.kernel_init)


class ConvPool(nnx.Module):
  """Flatten a map as Chen 2020 and Li 2023 do (Li: Fig. 7; Chen: phase II).

  3x3 convolution to `features` channels without padding or activation, then
  max pooling 3x3 with stride 3: 10x10x2048 becomes 2x2x256 = 1,024 numbers.
  """

  def __init__(self, channels, map_hw, features=256, *, dtype, rngs):
    out = [(n - 2) // 3 for n in map_hw]
    if min(out) < 1:
      raise ValueError(
        f'A {map_hw[0]} x {map_hw[1]} map is too small for the conv_pool head, '
        "which needs 5 x 5; enlarge input.size or set net.pool='gap'."
      )
    self.out_features = out[0] * out[1] * features
    self.conv = layers.Conv(
      channels, features, 3, padding='VALID', dtype=dtype, rngs=rngs
    )

  def __call__(self, features, rngs=None):
    del rngs
    x = nnx.max_pool(self.conv(features), (3, 3), (3, 3))
    return x.reshape(x.shape[0], -1).astype(jnp.float32)


class GlobalPool(nnx.Module):
  """Global average ('gap') or maximum ('gmp') of a map."""

  def __init__(self, channels, kind):
    self.kind = kind
    self.out_features = channels

  def __call__(self, features, rngs=None):
    del rngs
    reduce = jnp.mean if self.kind == 'gap' else jnp.max
    return reduce(features.astype(jnp.float32), axis=(1, 2))


class Mlp(nnx.Module):
  """Flatten a map and run it through two layers (m46, Iglovikov 2017).

  Dropout, linear layer to `hidden` numbers and ELU, twice. The order of the
  flat numbers is rows, columns, channels. Layers begin as the authors' do.
  """

  def __init__(self, channels, map_hw, *, hidden, dropout, dtype, rngs):
    self.out_features = hidden
    self.dropout = nnx.Dropout(dropout)
    flat = map_hw[0] * map_hw[1] * channels
    options = dict(kernel_init=layers.linear_init, dtype=dtype, rngs=rngs)
    self.fc1 = linear(flat, hidden, **options)
    self.fc2 = linear(hidden, hidden, **options)

  def __call__(self, features, rngs=None):
    x = features.reshape(features.shape[0], -1)
    for fc in (self.fc1, self.fc2):
      x = nnx.elu(fc(self.dropout(x, rngs=rngs)))
    return x.astype(jnp.float32)


def pool(
  kind: str,
  channels: int,
  hw: tuple[int, int],
  *,
  hidden: int = 2048,
  dropout: float = 0.0,
  dtype,
  rngs,
) -> nnx.Module:
  """Make the layer that turns [B,h,w,channels] into [B,out_features].

  Args:
    kind: 'gap', 'gmp', 'conv_pool' or 'mlp'.
    channels, hw: of the map.
    hidden, dropout: of 'mlp'.
    dtype, rngs: of the layer.
  """
  if kind == 'mlp':
    options = dict(hidden=hidden, dropout=dropout, dtype=dtype, rngs=rngs)
    return Mlp(channels, hw, **options)
  if kind == 'conv_pool':
    return ConvPool(channels, hw, dtype=dtype, rngs=rngs)
  if kind in ('gap', 'gmp'):
    return GlobalPool(channels, kind)
  raise ValueError(
    f"net.pool={kind!r} is unknown; choose 'gap', 'gmp', 'conv_pool' or 'mlp'."
  )


class AgeHead(nnx.Module):
  """Pooled image features and sex to age, by eq. 3 of Li 2023.

  x = [a_D z ; a_G e] with z the image features, e a linear map of sex coded
  +1 male, -1 female, 0 unknown, and learnable scalars a_D, a_G that start at
  1; one linear layer follows (the concatenation equals the paper's weighted
  sum of two linear maps). `sex_features=0` leaves sex out. `extra_inputs`,
  numbers of `scalars.SCALARS`, are standardized and join as the sex does.
  With `joint_features` above 0, a hidden layer with ReLU of as many numbers
  comes before the linear one, so that what a feature says of the age may depend
  on the sex; dropout is then behind it.

  output 'bins': 240 logits; age is read by `readout`: 'expectation' of the
  softmax (Chen 2020, eq. 8), or 'argmax' where the logits are unnormalised
  soft labels (Chen 2020, phase I). output 'scalar': one number, months, as the
  papers have it; 'standardized': one number in standard deviations from the
  mean age; 'unit': one number from -1, 0 months, to 1, 240 months (Iglovikov
  2017).

  `extra_outputs`, names of EXTRA_OUTPUTS, are told of the image alone, by a
  linear layer of their own: `extra`, name -> [B], and what the layer says of
  each, `raw`, for losses.
  """

  def __init__(
    self,
    features: int,
    *,
    output: str = 'bins',
    readout: str = 'expectation',
    sex_features: int = 32,
    joint_features: int = 0,
    dropout: float = 0.0,
    extra_inputs: Sequence[str] = (),
    extra_outputs: Sequence[str] = (),
    rngs: nnx.Rngs,
  ):
    _known('extra_inputs', extra_inputs, scalars.SCALARS)
    _known('extra_outputs', extra_outputs, EXTRA_OUTPUTS)
    if output not in OUTPUTS:
      raise ValueError(
        f'net.output={output!r} is unknown; choose one of {OUTPUTS}.'
      )
    if readout not in ('expectation', 'argmax'):
      raise ValueError(
        f"net.readout={readout!r} is unknown; choose 'expectation' or 'argmax'."
      )
    self.output, self.readout = output, readout
    self.dropout = nnx.Dropout(dropout)
    self.has_sex = sex_features > 0
    if self.has_sex:
      self.sex = linear(1, sex_features, rngs=rngs)
      self.image_weight = nnx.Param(jnp.ones(()))
      self.sex_weight = nnx.Param(jnp.ones(()))
    self.extra_inputs = tuple(extra_inputs)
    self.extra_outputs = tuple(extra_outputs)
    width = SCALAR_FEATURES if extra_inputs else 0
    if extra_inputs:
      self.scalars = linear(len(extra_inputs), width, rngs=rngs)
    seen = features + sex_features + width
    self.joint = (
      linear(seen, joint_features, rngs=rngs) if joint_features else None
    )
    # The authors' of 'unit', which begins about the middle age.
    init = layers.linear_init if output == 'unit' else layers.kernel_init
    self.fc = linear(
      joint_features or seen,
      BINS if output == 'bins' else 1,
      kernel_init=init,
      rngs=rngs,
    )
    if output == 'scalar':
      self.fc.bias[...] = jnp.full((1,), MEAN_AGE)
    if extra_outputs:  # last: without, nets begin as they did before
      self.extra_fc = linear(features, len(extra_outputs), rngs=rngs)

  def __call__(self, z, inputs, rngs=None):
    if self.joint is None:
      z = self.dropout(z, rngs=rngs)
    told = self._tell(z) if self.extra_outputs else {}
    if self.has_sex:
      e = self.sex(inputs['sex'].astype(jnp.float32)[:, None])
      z = jnp.concatenate(
        [self.image_weight[...] * z, self.sex_weight[...] * e], axis=-1
      )
    if self.extra_inputs:
      numbers = [
        (inputs[name].astype(jnp.float32) - one.middle) / one.spread
        for name, one in ((n, scalars.SCALARS[n]) for n in self.extra_inputs)
      ]
      e = self.scalars(jnp.stack(numbers, axis=-1))
      z = jnp.concatenate([z, e], axis=-1)
    if self.joint is not None:
      z = self.dropout(nnx.relu(self.joint(z)), rngs=rngs)
    out = self.fc(z)
    if self.output != 'bins':
      return {'age': self._months(out)[:, 0], **told}
    return {'age': read_age(out, self.readout), 'logits': out, **told}

  def _tell(self, z: jax.Array) -> dict[str, dict[str, jax.Array]]:
    """Return `raw` and `extra` of features of the image, [B, C]."""
    said = jnp.moveaxis(self.extra_fc(z), -1, 0)
    raw = dict(zip(self.extra_outputs, said, strict=True))
    return {
      'raw': raw,
      'extra': {name: EXTRA_OUTPUTS[name](x) for name, x in raw.items()},
    }

  def maps(self, features: jax.Array) -> jax.Array:
    """Class activation maps [B,h,w,K] of a map [B,h,w,C], bias included.

    Behind global average pooling their mean is the output, but for the sex
    and further inputs.
    """
    kernel = self.fc.kernel[...][: features.shape[-1]]
    if self.has_sex:
      kernel = self.image_weight[...] * kernel
    maps = jnp.tensordot(features.astype(jnp.float32), kernel, 1)
    return self._months(maps + self.fc.bias[...])

  def _months(self, out: jax.Array) -> jax.Array:
    if self.output == 'standardized':
      return MEAN_AGE + SD_AGE * out
    if self.output == 'unit':
      return HALF + HALF * out
    return out


def _known(field: str, names: Sequence[str], known: Collection[str]) -> None:
  """Refuse names that a head has not, or one that stands twice."""
  if len(set(names)) < len(names) or not set(names) <= set(known):
    raise ValueError(
      f'Expected net.{field} to name some of {", ".join(known)}, each once, '
      f'got {tuple(names)}.'
    )


def read_age(logits: jax.Array, readout: str) -> jax.Array:
  """Age in months [B] from 240 outputs [B,240]."""
  if readout == 'argmax':
    return jnp.argmax(logits, axis=-1).astype(jnp.float32)
  months = jnp.arange(logits.shape[-1], dtype=jnp.float32)
  return jax.nn.softmax(logits, axis=-1) @ months
