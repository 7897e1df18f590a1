"""Time of single convolutions and of their gradients, ours beside PyTorch's.

  python -m benchmarks.convolutions

The shapes are of ResNet50 and Xception at 300 pixels. Each is timed alone, in
turn with PyTorch's, channels last; in a net, XLA fuses what lies around it. So
this shows which operation holds a step, and not how long the step takes.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import pairs
from boneage_jax.core import startup
from boneage_jax.models import ops

# Side of the map, channels in and out (0: depthwise), kernel, stride.
SHAPES = (
  (75, 64, 64, 3, 1),
  (38, 128, 128, 3, 1),
  (19, 256, 256, 3, 1),
  (75, 128, 128, 3, 2),
  (38, 256, 256, 3, 2),
  (38, 512, 128, 1, 1),
  (19, 1024, 256, 1, 1),
  (147, 128, 0, 3, 1),
  (19, 728, 0, 3, 1),
)
PASSES = ('forward', 'to the map', 'to the kernel')


def ours(x: np.ndarray, kernel: np.ndarray, stride: int) -> list[pairs.Work]:
  """Return the three passes of ours."""
  depthwise, pad = kernel.shape[2] == 1, len(kernel) // 2
  take = ops.depthwise if depthwise else ops.convolve
  call = functools.partial(take, stride=stride, padding=pad)
  x, kernel = jnp.asarray(x), jnp.asarray(kernel)
  grad = jnp.ones_like(call(x, kernel))
  back = lambda g, x, k, i: jax.vjp(call, x, k)[1](g)[i]
  work = [(call, (x, kernel))]
  for i in range(2):
    work.append((functools.partial(back, i=i), (grad, x, kernel)))
  options = ops.compiler_options()

  def run(program, args):
    return lambda: jax.block_until_ready(program(*args))

  return [run(jax.jit(f, compiler_options=options), a) for f, a in work]


def peer(
  x: np.ndarray, kernel: np.ndarray, stride: int
) -> list[pairs.Work] | list[str]:
  """Return the three passes of PyTorch, or why they cannot be had."""
  try:
    import torch
  except ImportError as error:
    return [f'missing: {error}'] * len(PASSES)
  groups = x.shape[-1] if kernel.shape[2] == 1 else 1
  pad = len(kernel) // 2
  x = torch.from_numpy(x).permute(0, 3, 1, 2)
  kernel = torch.from_numpy(kernel).permute(3, 2, 0, 1)
  kernel = kernel.contiguous(memory_format=torch.channels_last)
  call = functools.partial(
    torch.conv2d, x, kernel, stride=stride, padding=pad, groups=groups
  )
  grad = torch.ones_like(call())
  back = functools.partial(
    torch.ops.aten.convolution_backward,
    grad,
    x,
    kernel,
    None,
    (stride,) * 2,
    (pad,) * 2,
    (1, 1),
    False,
    (0, 0),
    groups,
  )
  masks = ((True, False, False), (False, True, False))
  return [call, *(functools.partial(back, mask) for mask in masks)]


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--repeats', type=int, default=5, help='turns')
  # Many, as PyTorch's threads spin a while after each of its turns.
  parser.add_argument('--calls', type=int, default=20, help='calls in a turn')
  args = parser.parse_args()
  startup.keep_freed_memory()
  print(f'{pairs.machine()}; batch {args.batch}\n')
  names = ['map', 'kernel', 'stride', 'pass', *pairs.COLUMNS]
  print(pairs.header(names))
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  for side, inputs, outputs, size, stride in SHAPES:
    x = draw(args.batch, side, side, inputs)
    shape = (size, size, *((inputs, outputs) if outputs else (1, inputs)))
    kernel = draw(*shape)
    both = (make(x, kernel, stride) for make in (ours, peer))
    for name, one, other in zip(PASSES, *both, strict=True):
      _, cells = pairs.compare(one, other, 'torch', args.repeats, args.calls)
      shape = [
        f'{side} x {side} x {inputs}',
        ' x '.join(map(str, kernel.shape)),
      ]
      print(pairs.row([*shape, str(stride), name, *cells]), flush=True)


if __name__ == '__main__':
  main()
