"""Time of a training step, ours beside its peers.

  python -m benchmarks.train_step --nets xception resnet50 --peers torch keras

A step is forward, backward and Adam on one batch of noise. Every peer
(`pip install -e '.[bench]'`) is timed in turn with ours on the same shapes;
ratios are ours / peer, below 1 where ours is faster. CPU is the time of all
cores together, which a busy machine blurs less than the clock. First calls
compile. ResNet50 strides where its peer does (Keras 1x1, torchvision 3x3).

On a GPU give --dtype=bfloat16 --calls=20. PyTorch is compiled there. MFU
counts the multiplications of the unrewritten net, three times the forward
pass, against --peak.
"""

import argparse
import gc
import itertools
import os

os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # for peers

import jax

from benchmarks import nets
from benchmarks import pairs

# Dense TFLOP/s of the data sheets (SXM): bfloat16, and TF32 for float32.
PEAK = {
  'A100': {'bfloat16': 312, 'float32': 156},
  'H100': {'bfloat16': 989, 'float32': 494},
  'H200': {'bfloat16': 989, 'float32': 494},
}


def measure(
  name: str, dtype: str, peer: str, args: argparse.Namespace
) -> list[str]:
  """Return the row of a net beside one peer."""
  batch = nets.examples(name, args.size, args.batch)
  net = nets.config(name, dtype, 'v1.5' if peer == 'torch' else 'v1')
  other = nets.peer(peer, name, batch, dtype)
  ours, cells = pairs.compare(
    nets.trainer(net, batch, args.ema),
    other if isinstance(other, str) else other.train,
    peer,
    args.repeats,
    args.calls,
  )
  peak = args.peak or next(
    (p[dtype] for k, p in PEAK.items() if k in jax.devices()[0].device_kind), 0
  )
  use = ''
  if peak:
    share = 3 * nets.flops(net, batch) / ours.wall / (peak * 1e12)
    use = f'{100 * share:.1f}'
  return [name, dtype, *cells, use]


def main() -> None:
  parser = pairs.parser(__doc__, nets.NETS)
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--ema', type=float, default=0.0, help='ours only')
  parser.add_argument('--peak', type=float, default=0.0, help='TFLOP/s')
  args = parser.parse_args()
  print(f'{pairs.machine()}; {args.size} px, batch {args.batch}\n')
  print(pairs.header(['net', 'dtype', *pairs.COLUMNS, 'MFU %']))
  for dtype, name, peer in itertools.product(args.dtype, args.nets, args.peers):
    print(pairs.row(measure(name, dtype, peer, args)), flush=True)
    gc.collect()
    jax.clear_caches()


if __name__ == '__main__':
  main()
