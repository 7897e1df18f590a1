"""Time of inference, one film and batches, ours beside its peers.

  python -m benchmarks.predict --nets xception --batches 1 8 --peers torch

Nets from noise to the probabilities of the bins; columns as in
benchmarks.train_step. The first call is what a cold start waits for: it
compiles (without the cache on disk that boneage_jax.predict keeps).
"""

import argparse
import gc
import itertools
import os

os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # for peers

import jax

from benchmarks import nets
from benchmarks import pairs


def measure(
  name: str, dtype: str, size: int, peer: str, args: argparse.Namespace
) -> list[str]:
  """Return the row of a net and batch beside one peer."""
  batch = nets.examples(name, args.size, size)
  net = nets.config(name, dtype, 'v1.5' if peer == 'torch' else 'v1')
  other = nets.peer(peer, name, batch, dtype)
  _, cells = pairs.compare(
    nets.predictor(net, batch),
    other if isinstance(other, str) else other.predict,
    peer,
    args.repeats,
    args.calls,
  )
  return [name, dtype, f'{size}', *cells]


def main() -> None:
  parser = pairs.parser(__doc__, nets.NETS)
  parser.add_argument('--batches', type=int, nargs='+', default=(1, 8))
  args = parser.parse_args()
  print(f'{pairs.machine()}; {args.size} px\n')
  print(pairs.header(['net', 'dtype', 'batch', *pairs.COLUMNS]))
  for dtype, name, size, peer in itertools.product(
    args.dtype, args.nets, args.batches, args.peers
  ):
    print(pairs.row(measure(name, dtype, size, peer, args)), flush=True)
    gc.collect()
    jax.clear_caches()


if __name__ == '__main__':
  main()
