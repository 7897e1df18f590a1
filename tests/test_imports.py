"""Who may import whom: a module imports lower levels, or its own package."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
LEVELS = (
  'files annotations png',  # what even the lowest share
  'transforms dicom metrics region_metrics phantom boxes splits '  # numpy, cv2
  'config_flag program_cost masks stress polarity detail frames',
  'losses gradcam optimizers models processes start_up '  # jax, flax
  'device_warp',
  'examples',
  'input_pipeline checkpoints pretrained metric_writer '  # files
  'plots conformal losses_attention crop_writer',  # of metrics, losses
  'data train train_step evaluate regions folds '  # jobs
  'attention classify report_data runs tables compare calibration '
  'ensemble trained upright',
  'report report_page gallery stages predict predictors robustness '
  'deletion faithful '
  'box_sweep published',
  'programs',
  'main train_compile',
)
LEVEL = {
  name: i for i, names in enumerate(LEVELS, -1) for name in names.split()
}
# Jobs call each other, and so do the parts of the report.
SIDEWAYS = (4, 5)
ONLY_NUMPY = {'jax', 'flax', 'optax', 'orbax', 'grain', 'tensorflow_datasets'}
READERS = ('data', 'predict', 'predictors')  # of tfds_rsna
LATE = {'matplotlib', 'pydicom', 'sklearn', 'fastapi'}  # where first needed


def imports(tree):
  """Yields (dotted name, whether on import of the module)."""
  top = {id(n) for n in tree.body}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((alias.name, id(node) in top) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, 'relative import'
      for alias in node.names:
        yield f'{node.module}.{alias.name}', id(node) in top


def faults(path, text):
  """Lines on what the module at `path`, relative to the root, must not do."""
  package, *rest = pathlib.Path(path).with_suffix('').parts
  level = LEVEL.get(rest[0]) if package == 'boneage_jax' else None
  for name, at_top in imports(ast.parse(text)):
    root, *inner = name.split('.')
    if root in ('tensorflow', 'tf_keras') or inner[:1] == ['main']:
      yield f'{path} imports {name}'
    elif root in LATE and at_top and path != 'boneage_jax/plots.py':
      yield f'{path} imports {name} before it is needed'
    elif package == 'configs' and root not in ('configs', *CONFIGS):
      yield f'{path} imports {name}'
    elif package == 'tfds_rsna' and root == 'boneage_jax':
      if LEVEL[inner[0]] > 0:
        yield f'{path} imports {name}'
    elif package == 'boneage_jax' and rest[0] != '__init__':
      if (
        root == 'keras'
        or (root == 'configs' and rest[0] != 'config_flag')
        or (level < 1 and root in ONLY_NUMPY)
        or (root == 'tfds_rsna' and rest[0] not in READERS)
      ):
        yield f'{path} imports {name}'
      elif root == 'boneage_jax' and inner[0] != rest[0]:
        other = LEVEL[inner[0]]
        if other > level or (other == level and level not in SIDEWAYS):
          yield f'{path} imports {name}'


CONFIGS = ('ml_collections', 'collections', 'typing', 'functools')


def test_levels():
  found = []
  for folder in ('boneage_jax', 'configs', 'tfds_rsna'):
    for path in sorted((ROOT / folder).rglob('*.py')):
      if not path.name.endswith('_test.py'):
        found += faults(str(path.relative_to(ROOT)), path.read_text())
  assert not found, '\n'.join(found)


def test_every_module_has_a_level():
  names = {p.stem for p in (ROOT / 'boneage_jax').iterdir()} - {'__pycache__'}
  other = ('__', 'report_template', 'launch')
  missing = {n for n in names if not n.startswith(other)}
  assert missing <= set(LEVEL)


@pytest.mark.parametrize(
  ('path', 'text'),
  [
    ('boneage_jax/losses.py', 'from boneage_jax import train'),
    ('boneage_jax/losses.py', 'from boneage_jax import gradcam'),
    ('boneage_jax/metrics.py', 'import jax'),
    ('boneage_jax/phantom/render.py', 'def f():\n  import flax.nnx'),
    ('boneage_jax/train.py', 'import tensorflow as tf'),
    ('boneage_jax/train.py', 'from boneage_jax import main'),
    ('boneage_jax/dicom.py', 'import pydicom'),
    ('boneage_jax/train.py', 'from configs import cascade'),
    ('boneage_jax/train.py', 'from tfds_rsna import build'),
    ('configs/cascade.py', 'import jax'),
    ('configs/cascade.py', 'from boneage_jax import losses'),
    ('tfds_rsna/films.py', 'from boneage_jax import losses'),
  ],
)
def test_the_test_can_fail(path, text):
  assert len(list(faults(path, text))) == 1
