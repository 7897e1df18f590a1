"""The same training on 1, 2, 4 and 8 devices: equal results, and what is sent.

  python -m benchmarks.scaling [--devices 1 2 4 8] [--steps 5]

Each count of virtual CPU devices is a process of its own, which takes steps of
the localizer of configs/cascade.py:phantom on one batch, split over the
devices, by gradient descent: Adam would divide noise by noise where there is
next to no gradient. Losses and the first update are compared with those of the
first count. Only rounding differs, but it may choose another cell under a
maximum, and later steps amplify it. The all-reduces of the compiled step are
added up, as bytes that every device sends into them. Virtual devices share the
cores of this machine: nothing here says how fast real ones are.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import jax
import numpy as np

from benchmarks import nets
from benchmarks import pairs
from boneage_jax.core import distributed
from boneage_jax.data import input_pipeline
from boneage_jax.train_compile import cost
from boneage_jax.training import optimizers
from boneage_jax.training import step as train_step
from configs import cascade

NET = 'phantom_localizer'


def train(steps: int, out: str) -> None:
  """Take steps on all devices of this process; write what came out."""
  stage = cascade.get_config('phantom').unlock().localizer
  stage.optimizer.update(dict(name='sgd', schedule='constant', warmup=0.0))
  mesh = distributed.make_mesh()
  size = stage.input.size
  graph, shapes, _ = train_step.abstract_net(stage.net, size)
  tx, _ = optimizers.create(stage.optimizer, shapes, steps)
  state = train_step.create_state(stage.net, size, 0, tx, stage.ema, mesh)
  step = train_step.make_train_step(
    graph,
    nets.LOSS,
    tx,
    ema=stage.ema,
    seed=0,
    freeze_statistics=False,
    mesh=mesh,
  )
  films = nets.examples(NET, stage.input.size, stage.batch_size)
  batch = input_pipeline.to_device(films, mesh)
  step = step.lower(state, batch).compile()
  losses, places = [], [ravel(state.params)]
  for _ in range(steps):
    state, scalars = step(state, batch)
    losses.append(float(scalars['loss']))
    places.append(ravel(state.params))
  sent = cost.collective_bytes(step.as_text())
  update = places[1] - places[0]
  np.savez(out, loss=losses, update=update, sent=sum(sent.values()))


def ravel(params: dict[str, Any]) -> np.ndarray:
  """Copy parameters into one vector."""
  return np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])


def run(
  devices: int, args: argparse.Namespace, folder: str
) -> dict[str, np.ndarray]:
  """Train in a process with so many virtual devices; return its arrays."""
  out = os.path.join(folder, f'{devices}.npz')
  flags = f'--xla_force_host_platform_device_count={devices}'
  code = f'from benchmarks import scaling; scaling.train({args.steps}, {out!r})'
  subprocess.run(
    [sys.executable, '-c', code],
    cwd=pathlib.Path(__file__).parent.parent,
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    check=True,
  )
  with np.load(out) as file:
    return dict(file)


def difference(one: np.ndarray, other: np.ndarray) -> str:
  """Relative difference, by the Euclidean norm."""
  return f'{np.linalg.norm(one - other) / np.linalg.norm(one):.0e}'


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--devices', type=int, nargs='+', default=(1, 2, 4, 8))
  parser.add_argument('--steps', type=int, default=5)
  args = parser.parse_args()
  columns = ['devices', 'first loss', f'{args.steps} losses differ by']
  columns += ['first update differs by', 'MB sent in a step']
  print(pairs.header(columns))
  first = None
  with tempfile.TemporaryDirectory() as folder:
    for devices in args.devices:
      result = run(devices, args, folder)
      first = first or result
      cells = [f'{devices}', f'{result["loss"][0]:.5f}']
      cells += [difference(first[k], result[k]) for k in ('loss', 'update')]
      cells += [f'{result["sent"] / 1e6:.2f}']
      print(pairs.row(cells), flush=True)


if __name__ == '__main__':
  main()
