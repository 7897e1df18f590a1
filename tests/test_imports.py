"""Who may import whom: a room imports rooms to its left, without circles."""

import ast
import pathlib
import re

import pytest
import without

ROOT = pathlib.Path(__file__).parent.parent
# Each imports only what stands left of it. What is no room is a door: it may
# import any room, and no room imports it.
ROOMS = (
  *('core', 'imaging', 'phantom', 'tfds_rsna', 'data', 'models', 'runs'),
  *('training', 'regions', 'inference', 'evaluation', 'report', 'workflow'),
)
DOORS = {'api', 'evaluate', 'export', 'main', 'predict', 'preview', 'serve'}
DOORS |= {'sweep', 'train_compile'}
DATA = {'launch'}  # scripts and manifests, no Python
NO_JAX = {'jax', 'flax', 'optax', 'orbax', 'grain', 'tensorflow_datasets'}
NUMPY_ROOMS = {'imaging', 'phantom'}
BANNED = {'tensorflow', 'tf_keras', 'keras'}
LATE = {
  *('matplotlib', 'sklearn', 'pydicom', 'highdicom', 'pynetdicom'),
}  # imported where first needed
CONFIGS = {'configs', 'ml_collections', 'collections', 'typing', 'functools'}


def modules():
  """Dotted name -> path of every module of ours, tests apart."""
  found = {}
  for top in ('boneage_jax', 'tfds_rsna', 'configs'):
    for path in sorted((ROOT / top).rglob('*.py')):
      name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
      if not name.endswith('_test'):
        found[name.removesuffix('.__init__')] = path
  return found


MODULES = modules()


def imports(text):
  """Yields (dotted name, whether on import of the module)."""
  tree = ast.parse(text)
  top = {id(node) for node in tree.body}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((alias.name, id(node) in top) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, 'relative import'
      for alias in node.names:
        yield f'{node.module}.{alias.name}', id(node) in top


def room(name):
  """The room of a module, 'door', 'configs', or '' of another package."""
  first, *rest = name.split('.')
  if first in ('tfds_rsna', 'configs'):
    return first
  if first != 'boneage_jax' or not rest:
    return ''
  return rest[0] if rest[0] in ROOMS else 'door'


def own(name):
  """The module of ours that an import reaches, or None."""
  while name and name not in MODULES:
    name = name.rpartition('.')[0]
  return name or None


def faults(module, text):
  """Lines on what `module` must not import."""
  here = room(module)
  for name, at_top in imports(text):
    root, there = name.split('.')[0], room(name)
    bad = root in BANNED or (root in LATE and at_top)
    bad |= root == 'csv' and module != 'boneage_jax.core.tables'
    if here == 'configs':
      bad |= root not in CONFIGS
    elif there == 'configs':
      bad |= module != 'boneage_jax.core.config'
    elif here in NUMPY_ROOMS and root in NO_JAX:
      bad = True
    elif there == 'door':
      bad |= here != 'door'
    elif there and here != 'door':
      bad |= not here or ROOMS.index(there) > ROOMS.index(here)
    if bad:
      yield f'{module} imports {name}'


def reach(start, graph):
  """All that `start` imports, directly or not."""
  seen, todo = set(), [start]
  while todo:
    for name in graph[todo.pop()] - seen:
      seen.add(name)
      todo.append(name)
  return seen


def test_rooms():
  found = [
    fault
    for module, path in MODULES.items()
    for fault in faults(module, path.read_text())
  ]
  assert not found, '\n'.join(found)


def test_no_circles():
  graph = {
    module: {own(name) for name, _ in imports(path.read_text())}
    - {None, module, 'boneage_jax', 'tfds_rsna', 'configs'}
    for module, path in MODULES.items()
  }
  assert not [module for module in graph if module in reach(module, graph)]


def outside(start, found):
  """Other packages that an import of `start` imports; `found`: imports of."""
  packages, seen, todo = set(), {start}, [start]
  while todo:
    for name, at_top in found(todo.pop()):
      if not at_top:
        continue
      module = own(name)
      if not module:
        packages.add(name.split('.')[0])
      while module and module not in seen:  # and the packages that hold it
        seen.add(module)
        todo.append(module)
        module = own(module.rpartition('.')[0])
  return packages


def test_predict_imports_nothing_that_windows_lacks():
  """What is imported where first needed: test_predict.py blocks these."""
  found = lambda module: imports(MODULES[module].read_text())
  packages = outside('boneage_jax.predict', found)
  assert {'jax', 'orbax', 'cv2'} <= packages
  assert not packages & without.NOT_TO_PREDICT
  deep = 'boneage_jax.runs.run'  # were it to import one, it would be found
  planted = lambda module: [*found(module), ('grain', module == deep)]
  assert 'grain' in outside('boneage_jax.predict', planted)


def test_setup_asks_for_none_of_them_on_windows():
  named = {}
  for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text())):
    if isinstance(node, ast.keyword) and node.arg == 'install_requires':
      for one in node.value.elts:
        plain = isinstance(one, ast.Constant)
        text = one.value if plain else one.values[0].value
        name = re.split('[<>=]', text)[0].replace('-', '_')
        named[name] = None if plain else one.values[1].value.id
  marked = {name for name, marker in named.items() if marker}
  assert marked == without.NOT_TO_PREDICT
  assert {named[name] for name in marked} == {'NOT_WINDOWS'}


def test_nothing_lies_outside_the_rooms():
  inside = {path.stem for path in (ROOT / 'boneage_jax').iterdir()}
  assert inside - {'__init__', '__pycache__'} <= {*ROOMS, *DOORS, *DATA}


@pytest.mark.parametrize(
  ('module', 'text'),
  [
    ('boneage_jax.core.storage', 'from boneage_jax.imaging import png'),
    ('boneage_jax.training.losses.age', 'from boneage_jax.regions import job'),
    ('boneage_jax.imaging.boxes', 'import jax'),
    ('boneage_jax.phantom.render', 'def f():\n  import flax.nnx'),
    ('boneage_jax.training.loop', 'import tensorflow as tf'),
    ('boneage_jax.training.loop', 'from boneage_jax import main'),
    ('boneage_jax.imaging.dicom', 'import pydicom'),
    ('boneage_jax.training.loop', 'from configs import cascade'),
    ('boneage_jax.imaging.codec', 'from tfds_rsna import films'),
    ('configs.cascade', 'import jax'),
    ('configs.cascade', 'from boneage_jax.training.losses import age'),
    ('tfds_rsna.films', 'from boneage_jax.data import splits'),
  ],
)
def test_the_test_can_fail(module, text):
  assert len(list(faults(module, text))) == 1
