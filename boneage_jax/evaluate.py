"""Exact evaluation: every film once, whatever the batch or device count.

  python -m boneage_jax.evaluate table|compare|calibrate|ensemble RUN ...

judges finished runs by the predictions they left, and

  python -m boneage_jax.evaluate stress|faithful RUN ...

by what their nets say to films that are changed, `boxes RUN:STAGE` by their
heat maps; --help after the command.
"""

from collections.abc import Callable
from collections.abc import Sequence
import importlib
import os
import sys
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from boneage_jax import data
from boneage_jax import input_pipeline
from boneage_jax import processes
from boneage_jax import report_data
from boneage_jax import train_step
from boneage_jax import trained
from boneage_jax import transforms
from boneage_jax.models import ops

# Modules with a `main`, imported when called: some of them import this one.
COMMANDS = {
  'table': 'tables',
  'compare': 'compare',
  'calibrate': 'calibration',
  'ensemble': 'ensemble',
  'stress': 'robustness',
  'faithful': 'faithful',
  'boxes': 'box_sweep',
}


METRIC, SHOWN = 'mae', 'MAE {:.2f} months'  # of `error`


def error(
  outputs: dict[str, np.ndarray], films: dict[str, np.ndarray]
) -> float:
  """Mean absolute error in months of `age` in the outputs."""
  return float(np.mean(np.abs(outputs['age'] - films['age'])))


def make_predict(graph: Any) -> Callable[[dict, dict], dict[str, jax.Array]]:
  """Compile `predict(variables, batch) -> {'age', 'probability'}`.

  Without bins or classes there is no probability, and of classes no age.
  """

  def predict(variables, batch):
    outputs = trained.merge(graph, variables)(batch)
    result = {'age': outputs['age']} if 'age' in outputs else {}
    if 'logits' in outputs:
      result['probability'] = jax.nn.softmax(outputs['logits'])
    return result

  return jax.jit(predict, compiler_options=ops.compiler_options())


def views(section: Any) -> list[np.ndarray]:
  """Return the matrices, over the net's input, that `eval_views` asks for."""
  chosen, size = section.eval_views, (section.input.size, section.input.size)
  if not chosen.rotate:
    raise ValueError(
      'expected eval_views.rotate to hold one angle or more, got none: '
      '(0.0,) is the film as it is'
    )
  return [
    transforms.view_matrix(size, degrees, mirror)
    for mirror in ((False, True) if chosen.flip else (False,))
    for degrees in chosen.rotate
  ]


class Split:
  """The films of one split, ready to be predicted again and again.

  `masks` are kinds of masks.KINDS that their batches hold. With `final`,
  outputs are averaged over the views of the stage.
  """

  def __init__(
    self, config, stage, workdir, films, mesh, masks=(), final=False
  ):
    self.films = films
    self._mesh = mesh
    self._count = len(films['id'])
    section = config[stage]
    if not self._count:
      raise ValueError(
        f'{stage}: a split has no film at all; raise '
        '--config.data.validation_fraction or --config.data.test_fraction, '
        'or with folds lower --config.data.folds.'
      )
    source = data.stage_source(config, stage, workdir, films)
    self._views = [
      input_pipeline.eval_batches(
        source, section.input, section.eval_batch_size, masks=masks, view=view
      )
      for view in (views(section) if final else (None,))
    ]
    self._threads = section.input.threads

  def predict(self, predict, variables) -> dict[str, np.ndarray]:
    """`age` [N] months and, with bins, `probability` [N,240], in film order.

    Every process gets all of them.
    """
    each = []
    for batches in self._views:
      results: dict[str, list] = {}
      for batch in input_pipeline.iterate(batches, 0, self._threads):
        placed = input_pipeline.to_device(batch, self._mesh)
        outputs = predict(variables, placed)
        outputs = multihost_utils.process_allgather(outputs, tiled=True)
        for name, value in outputs.items():
          results.setdefault(name, []).append(value)
      each.append({n: np.concatenate(v) for n, v in results.items()})
    # Padding comes last.
    return {
      name: np.mean([one[name] for one in each], axis=0)[: self._count]
      for name in each[0]
    }


def write_predictions(
  config: Any,
  stage: str,
  workdir: str,
  films: dict[str, np.ndarray],
  predict: Callable,
  variables: dict[str, Any],
) -> None:
  """Predict validation and test films; the lead writes the stage's files.

  Ages and probabilities are averaged over the views of `eval_views`.
  `predictions.csv` (id, split, male, age, prediction; months) and, for nets
  with bins, `distributions.npz` (id [N], probability float16 [N,240]).
  """
  mesh, parts = train_step.make_mesh(), []
  for name in ('validation', 'test'):
    part = data.select(films, name)
    outputs = Split(config, stage, workdir, part, mesh, final=True).predict(
      predict, variables
    )
    part = {column: part[column] for column in ('id', 'split', 'male', 'age')}
    part['prediction'] = outputs['age'].astype(np.float64)
    if 'probability' in outputs:
      part['probability'] = outputs['probability']
    parts.append(part)
  if processes.is_lead():
    report_data.write_predictions(
      os.path.join(workdir, stage),
      {name: np.concatenate([p[name] for p in parts]) for name in parts[0]},
    )


def main(argv: Sequence[str] | None = None) -> None:
  """Run a command on finished runs."""
  command, *rest = (sys.argv[1:] if argv is None else argv) or ['']
  if command in ('-h', '--help'):
    print(__doc__)
    return
  if command not in COMMANDS:
    sys.exit(f'Expected {", ".join(COMMANDS)} and its runs, got {command!r}.')
  module = importlib.import_module(f'boneage_jax.{COMMANDS[command]}')
  module.main(rest)


if __name__ == '__main__':
  main()
