"""What a loaded model consists of: its nets, and how ages are combined."""

from collections.abc import Callable
from collections.abc import Iterator
import hashlib
import os
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from boneage_jax.core import scalars
from boneage_jax.core import sizes
from boneage_jax.data import groups
from boneage_jax.inference import ensemble
from boneage_jax.inference import locating
from boneage_jax.inference import net as net_lib
from boneage_jax.inference import orientation
from boneage_jax.inference import predictor
from boneage_jax.inference import registering
from boneage_jax.inference import regression
from boneage_jax.regions import gradcam

Model = predictor.Predictor | ensemble.Ensemble
MAPS, OUTPUTS = 'maps', 'outputs'


class Program(NamedTuple):
  """What is compiled of a net.

  Attributes:
    loaded: the net.
    kind: OUTPUTS, or MAPS of a net that shows where regions lie.
    compile: gives the compiled `program(variables, batch)`.
    net: that calls it, or None.
    size: height and width of its films, where there is no `net`.
  """

  loaded: net_lib.Loaded
  kind: str
  compile: Callable[[], Callable]
  net: net_lib.Net | None = None
  size: tuple[int, int] | None = None


def predictors(model: Model) -> Iterator[predictor.Predictor]:
  """Yield what a model averages, in order.

  Raises:
    ValueError: ages of it are by regressors, not by a net.
  """
  for member in getattr(model, 'members', ()):
    yield from predictors(member)
  if not hasattr(model, 'members'):
    if isinstance(model.net, regression.Regression):
      raise ValueError(
        'Expected ages by nets, got ages by regressors (the job '
        'fit_regressors), which only predict --workdir=RUN reads: name another '
        'stage with --stage.'
      )
    yield model


def programs(model: Model) -> list[Program]:
  """Return all that a model compiles, each once: age nets first."""
  found: dict[tuple[str, str], Program] = {}
  each = list(predictors(model))
  every = [_of_net(one.net) for one in each]
  every += [part for one in each for part in _of_finder(one.finder)]
  for program in every:
    found.setdefault((program.loaded.folder, program.kind), program)
  return list(found.values())


def digest(model: Model) -> str:
  """Return the SHA-256 of all arrays that ages follow from, 64 hex digits."""
  found = hashlib.sha256()
  for array in _arrays(model):
    found.update(f'{array.dtype} {array.shape}'.encode())
    found.update(np.ascontiguousarray(array))
  return found.hexdigest()


def _arrays(model: Model) -> Iterator[np.ndarray]:
  if hasattr(model, 'members'):
    for sex in groups.SEX:
      readers, shares = model.readers(sex)
      yield np.array([model.members.index(member) for member in readers])
      yield shares
    for member in model.members:
      yield from _arrays(member)
    return
  nets = [model.net]
  if isinstance(model.net, regression.Regression):
    yield from model.net.arrays.values()
    nets = model.net.nets
  loaded = [one.loaded for one in nets]
  loaded += [program.loaded for program in _of_finder(model.finder)]
  for one in loaded:
    yield from map(np.asarray, jax.tree.leaves(one.variables))


def tree(model: Model, root: str) -> dict[str, Any]:
  """Say how ages are combined, for JSON.

  Returns:
    `net`, the name of one net, whose views are averaged; or `members`, such
    dicts, and `weights`, of each sex one a member, 0 where it does not read
    films of that sex.
  """
  if not hasattr(model, 'members'):
    return {'net': name(model.net.loaded, root)}
  weights = {}
  for sex in groups.SEX:
    readers, shares = model.readers(sex)
    share = {id(m): w for m, w in zip(readers, shares.tolist(), strict=True)}
    weights[sex] = [share.get(id(member), 0.0) for member in model.members]
  members = [tree(member, root) for member in model.members]
  return {'members': members, 'weights': weights}


def name(loaded: net_lib.Loaded, root: str) -> str:
  """Return a net's folder within its run, as 'fold_0/assessor'."""
  folder, root = (one.replace(os.sep, '/') for one in (loaded.folder, root))
  return folder.removeprefix(root.rstrip('/') + '/')


def watch(
  model: Model, seen: Callable[[net_lib.Net, dict, int, int], None] | None
) -> None:
  """Have `seen(net, batch, view, films)` called with all that nets read.

  Args:
    model: whose nets; maps are not among what is told.
    seen: None ends it.
  """
  for program in programs(model):
    if program.net is not None:
      net = program.net
      net.watch = None if seen is None else _told(seen, net)


def _told(seen: Callable, net: net_lib.Net) -> Callable:
  return lambda batch, view, films: seen(net, batch, view, films)


def batch_of(size: tuple[int, int]) -> dict[str, np.ndarray]:
  """Return the batch of one film that `MAPS` take."""
  image = np.zeros((1, *size, 1), np.uint8)
  numbers = ('sex', *scalars.SCALARS)  # programs name those that they read
  return {'image': image, **{n: np.zeros(1, np.float32) for n in numbers}}


def _of_net(net: net_lib.Net) -> Program:
  compiled = lambda: net.make_predict(net.loaded.graph)
  return Program(net.loaded, OUTPUTS, compiled, net)


def _of_finder(finder: Any) -> Iterator[Program]:
  if isinstance(finder.upright, orientation.OrientationCorrector):
    yield _of_net(finder.upright.net)
  if isinstance(finder.cut, registering.Registering):
    yield _of_net(finder.cut.points)
    if finder.cut.masks:
      yield _of_net(finder.cut.masks)
  if isinstance(finder.cut, locating.Locating):
    for one in finder.cut.locators:
      yield _of_locator(one)


def _of_locator(locator: locating.Locator) -> Program:
  graph = locator.loaded.graph
  compiled = lambda: gradcam.compile_maps(graph, locator.options)
  size = sizes.size_hw(locator.film_input.size)
  return Program(locator.loaded, MAPS, compiled, size=size)
