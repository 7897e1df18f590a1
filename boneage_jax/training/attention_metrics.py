"""How far a net's attention lies inside human masks, and what guides it."""

from collections.abc import Callable
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.imaging import masks
from boneage_jax.training import prediction
from boneage_jax.training import restore
from boneage_jax.training.losses import attention as attention_losses


def training_kinds(section: Any, stage: str, source: Any) -> tuple[str, ...]:
  """Return the kinds of masks that guide a stage; () where nothing does.

  Without a film to guide on, the stage is trained as with weight 0, to the
  last bit.

  Args:
    section: of the stage in the config.
    stage: its name, for messages.
    source: records of the training films.
  """
  kinds, weight = tuple(section.guidance.mask), section.guidance.weight
  if not weight:
    return ()
  count = int(_marked(source, kinds).sum())
  distributed.print_once(
    f'{stage}: attention guided by {", ".join(kinds)} on {count} of '
    f'{len(source)} training films'
    + ('.' if count else ', so not at all: as with guidance.weight=0.')
  )
  return kinds if count else ()


def measure(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  graph: Any,
) -> Callable[[str, Any], None]:
  """Prepare to measure attention on the validation and test films with masks.

  Returns:
    A function of 'before' or 'after' and variables, which adds to the stage's
    attention.json, by split: `films`; `inside`, the mean share of the attention
    inside the mask, and of enough films its 95 % bootstrap interval; `area`,
    the mean share of the net's input inside the mask, which attention without a
    preference has; `per_film` {id: share}. With both, `change` too, film by
    film.
  """
  section = config[stage]
  kinds = tuple(section.guidance.mask)
  mesh = distributed.make_mesh()
  parts = {}
  for name in ('validation', 'test') if kinds else ():
    part = selection.select_split(films, name)
    marked = _marked(
      selection.stage_source(config, stage, workdir, part), kinds
    )
    if marked.any():
      part = {key: column[marked] for key, column in part.items()}
      parts[name] = prediction.Split(
        config, stage, workdir, part, mesh, masks=kinds
      )

  @jax.jit
  def look(variables, batch):
    net = restore.merge(graph, variables)
    mask = batch['region_mask']
    area = jnp.mean(mask == masks.INSIDE, (1, 2))
    return {'inside': attention_losses.inside(net(batch), mask), 'area': area}

  path = stages.path(workdir, stage, stages.ATTENTION)

  def add(when: str, variables: Any) -> None:
    if not parts:
      return
    result = {'mask': kinds} | storage.read_json(path, {})
    result[when] = {}
    for name, split in parts.items():
      found = split.predict(look, variables)
      ids = split.films['id'].tolist()
      result[when][name] = _mean(found['inside'], 'inside') | {
        'area': float(found['area'].mean()),
        'per_film': dict(zip(ids, found['inside'].tolist(), strict=True)),
      }
    if {'before', 'after'} <= result.keys():
      result['change'] = {n: _change(result, n) for n in parts}
      for name, row in result['change'].items():
        ends = row.get('change_ci95')
        interval = ' ({:+.1%} to {:+.1%})'.format(*ends) if ends else ''
        distributed.print_once(
          f'{stage}: attention inside the masks of {row["films"]} {name} films '
          f'{result["before"][name]["inside"]:.1%} before, '
          f'{result["after"][name]["inside"]:.1%} after training, change '
          f'{row["change"]:+.1%}{interval}; the masks cover '
          f'{result["after"][name]["area"]:.1%}.'
        )
    distributed.on_main_process(
      lambda: storage.write_json(path, result, indent=1)
    )

  return add


def _marked(source: Any, kinds: tuple[str, ...]) -> np.ndarray:
  """Say which films have a mask, bool [N]."""
  marks = (source[i]['annotations'] for i in range(len(source)))
  return np.array(
    [masks.has(json.loads(text or '{}'), kinds) for text in marks], bool
  )


def _mean(values: np.ndarray, name: str) -> dict[str, Any]:
  return {'films': len(values)} | statistics.mean(values, name)


def _change(result: dict[str, Any], split: str) -> dict[str, Any]:
  before, after = (
    np.array(list(result[when][split]['per_film'].values()))
    for when in ('before', 'after')
  )
  return _mean(after - before, 'change')
