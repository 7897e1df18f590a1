"""How much nets of a committee differ on a film (Zhao 2018, algorithm 1)."""

from collections.abc import Callable
from collections.abc import Sequence
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax.data import film_table
from boneage_jax.regions import mask_views
from boneage_jax.training import restore


def of_maps(one: jax.Array, other: jax.Array) -> jax.Array:
  """Return 1 - sum min / sum max of probability maps [B, H, W], float32 [B].

  This is 0 for equal maps, 1 for hands at two places, and does not depend on
  how large a hand is; ours.
  """
  total = lambda x: jnp.sum(x, (1, 2))
  shared = total(jnp.minimum(one, other))
  return 1 - shared / total(jnp.maximum(one, other))


def of_features(one: jax.Array, other: jax.Array) -> jax.Array:
  """Return 1 - the cosine of the last maps [B, H, W, C], float32 [B].

  The authors' code compares these. Two nets of different seeds have their
  channels in different orders: this says little of whether their masks differ.
  """
  total = lambda x: jnp.sum(x.astype(jnp.float32), (1, 2, 3))
  norm = jnp.sqrt(total(one**2) * total(other**2))
  return 1 - total(one * other) / jnp.maximum(norm, 1e-12)


MEASURES = dict(maps=of_maps, features=of_features)


def make_predict(graph: Any, measure: str) -> Callable:
  """Compile `predict(nets, batch)`: `dissimilarity` [B], the mean over pairs.

  Args:
    graph: of a U-Net, the same for all.
    measure: one of MEASURES.
  """
  compare = MEASURES[measure]

  @jax.jit
  def predict(nets, batch):
    seen = []
    for variables in nets:
      net = restore.merge(graph, variables)
      features = net.features(batch)
      if measure == 'maps':
        features = jax.nn.sigmoid(net.head(features, {})['mask'])
      seen.append(features)
    pairs = [compare(*pair) for pair in itertools.combinations(seen, 2)]
    return {'dissimilarity': sum(pairs) / len(pairs)}

  return predict


def dissimilarity(
  config: Any,
  members: Sequence[str],
  workdir: str,
  films: film_table.Films,
  measure: str,
) -> np.ndarray:
  """Return how much the nets of some stages differ on each film, [N].

  Args:
    config: with the stages; the first one's input is that of all.
    members: names of two trained stages or more.
    workdir: of the run.
    films: rows of the film table.
    measure: one of MEASURES.
  """
  loaded = [restore.load_net(config, name, workdir) for name in members]
  nets = [variables for _, variables in loaded]
  predict = make_predict(loaded[0][0], measure)
  rows = mask_views.look(config, members[0], workdir, films, predict, nets)
  return np.concatenate([found['dissimilarity'] for _, found in rows])
