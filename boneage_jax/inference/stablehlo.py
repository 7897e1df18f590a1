"""The programs of a model as StableHLO, which needs none of this code.

`jax.export` writes one artifact for each program and form: `cpu` has
convolutions as a CPU computes them fast, `accelerator` those of XLA itself.
Arrays are arguments, in the order that programs.json names, and the number of
films is free.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import os
from typing import Any

import jax
from jax import export
from jax import numpy as jnp
import numpy as np

from boneage_jax.core import scalars
from boneage_jax.core import storage
from boneage_jax.inference import contents
from boneage_jax.models import ops
from boneage_jax.models import ops_cpu
from boneage_jax.phantom import render
from boneage_jax.runs import parameters
from boneage_jax.training import forward

FORMAT = 1
FILE = 'programs.json'
EXAMPLE = 'example.py'
# form -> how nets are traced, and where that runs.
FORMS = {
  'cpu': ('shifted', ('cpu',)),
  'accelerator': ('native', ('cuda', 'rocm', 'tpu')),
}


def write(model: contents.Model, root: str, folder: str) -> dict[str, Any]:
  """Write the programs of a model, programs.json and example.py to a folder.

  Args:
    model: a loaded one.
    root: the folder that it was loaded from.
    folder: to write.

  Returns:
    The content of programs.json.
  """
  check_package()
  storage.make_folder(folder)
  batches = _batches(model)
  ages = {id(one.net) for one in contents.predictors(model)}
  result: dict[str, Any] = {
    'format': FORMAT,
    'jax': jax.__version__,
    'age': contents.tree(model, root),
    'nets': {},
    'finders': {},
  }
  for program in contents.programs(model):
    name = contents.name(program.loaded, root)
    batch = batches.get(id(program.net))
    if program.size:
      batch = contents.batch_of(program.size)
    of_age = id(program.net) in ages
    about = _write_forms(program, name, batch, folder)
    if of_age:
      result['nets'][name] = about
    else:
      result['finders'][f'{name}:{program.kind}'] = about
  storage.write_json(os.path.join(folder, FILE), result, indent=1)
  place = os.path.join(os.path.dirname(__file__), EXAMPLE)
  storage.put(place, os.path.join(folder, EXAMPLE))
  return result


def _write_forms(
  program: contents.Program,
  name: str,
  batch: Mapping[str, np.ndarray],
  folder: str,
) -> dict[str, Any]:
  """Write a program in all forms; return what programs.json says of it."""
  made, files = {}, {}
  for form in FORMS:
    made[form] = export_program(program, batch, form)
    files[form] = f'{name.replace("/", "_")}.{program.kind}.{form}.stablehlo'
    with storage.replacing(os.path.join(folder, files[form]), 'wb') as file:
      file.write(made[form].serialize())
  compiled_as_age_nets = program.net and (
    program.net.make_predict is not forward.make_mask_views
  )
  options = ops_cpu.compiler_options() if compiled_as_age_nets else None
  return {
    'arrays_file': f'{name}/{parameters.FILE}',
    'arrays': parameters.names(program.loaded.variables),
    'inputs': _described(made['cpu']),
    'outputs': _outputs(made['cpu']),
    'files': files,
    'compiler_options': {'cpu': options or {}, 'accelerator': {}},
  }


def check_package() -> None:
  """Check that `jax.export` can write.

  Raises:
    ValueError: the package that it asks for is missing.
  """
  try:
    import flatbuffers  # noqa: F401
  except ImportError as error:
    raise ValueError(
      'Expected the package flatbuffers, with which jax.export writes '
      'StableHLO, found none: pip install flatbuffers.'
    ) from error


def export_program(
  program: contents.Program, batch: Mapping[str, np.ndarray], form: str
) -> export.Exported:
  """Export `program(arrays, inputs)` of a number of films that is free.

  Args:
    program: of `contents.programs`.
    batch: that it takes; `inputs` are those that its outputs depend on.
    form: of FORMS.
  """
  films = export.symbolic_shape('films')
  kind = lambda x: jax.ShapeDtypeStruct((*films, *x.shape[1:]), x.dtype)
  inputs = {key: kind(batch[key]) for key in read_inputs(program, batch)}
  name, platforms = FORMS[form]
  run, arrays = _function(program, batch)
  with _form(name):
    return export.export(jax.jit(run), platforms=platforms)(arrays, inputs)


def read_inputs(
  program: contents.Program, batch: Mapping[str, np.ndarray]
) -> list[str]:
  """Name what a program's outputs depend on of a batch, sorted."""
  run, arrays = _function(program, batch)
  with _form('native'):
    jaxpr = jax.make_jaxpr(run)(arrays, dict(batch)).jaxpr
  read = {id(var) for step in jaxpr.eqns for var in step.invars}
  read |= {id(var) for var in jaxpr.outvars}
  inputs = zip(sorted(batch), jaxpr.invars[len(arrays) :], strict=True)
  return [key for key, var in inputs if id(var) in read]


@contextlib.contextmanager
def _form(name: str) -> Iterator[None]:
  """Trace nets in a form of `ops`, whatever the backend."""
  before, ops.FORM = ops.FORM, name
  try:
    yield
  finally:
    ops.FORM = before


def _function(
  program: contents.Program, batch: Mapping[str, np.ndarray]
) -> tuple[Callable, list[jax.ShapeDtypeStruct]]:
  """Return `run(arrays, inputs)`, not compiled, and what its arrays are."""
  leaves, structure = jax.tree.flatten(program.loaded.variables)
  compiled = program.compile().__wrapped__  # nothing jitted is kept of it

  def run(arrays, inputs):
    films = next(iter(inputs.values())).shape[0]
    unread = {
      key: jnp.zeros((films, *value.shape[1:]), value.dtype)
      for key, value in batch.items()
      if key not in inputs
    }
    variables = jax.tree.unflatten(structure, arrays)
    return compiled(variables, {**unread, **inputs})

  return run, [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]


def _batches(model: contents.Model) -> dict[int, dict[str, np.ndarray]]:
  """Return a batch of each net, by its id: a phantom of each sex is read."""
  film = render.make_film(0, 0, {'long_side': 256})['image']
  found: dict[int, dict[str, np.ndarray]] = {}
  contents.watch(model, lambda net, batch, *_: found.setdefault(id(net), batch))
  try:
    for sex in [sex for sex in ('M', 'F') if sex in model.sexes]:
      model.predict(film, sex, scalars.typical(model.inputs))
  finally:
    contents.watch(model, None)
  return found


def _described(made: export.Exported) -> dict[str, Any]:
  """Say shape and type of each input, in the order of the arguments."""
  (_, inputs), _ = jax.tree.unflatten(made.in_tree, made.in_avals)
  return {key: _kind(value) for key, value in inputs.items()}


def _outputs(made: export.Exported) -> dict[str, Any]:
  found = jax.tree.unflatten(made.out_tree, made.out_avals)
  named = jax.tree_util.tree_leaves_with_path(found)
  key = lambda path: jax.tree_util.keystr(path, simple=True, separator='/')
  return {key(path): _kind(value) for path, value in named}


def _kind(value: Any) -> dict[str, Any]:
  shape = [n if isinstance(n, int) else str(n) for n in value.shape]
  return {'shape': shape, 'dtype': np.dtype(value.dtype).name}
