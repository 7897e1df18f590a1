"""Weights by name, and equality with Keras' own nets on the same weights."""

import functools
import itertools
import os

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import layers
from boneage_jax.models.backbones import convnext
from boneage_jax.models.backbones import efficientnet
from boneage_jax.models.backbones import inception_v3
from boneage_jax.models.backbones import mobilenet_v3
from boneage_jax.models.backbones import resnet
from boneage_jax.models.backbones import vgg16
from boneage_jax.models.backbones import xception
from boneage_jax.models.weights import load as load_weights

h5py = pytest.importorskip('h5py')

REAL_FILE = 'inception_v3_imagenet_notop_fp16_minus_2_kernels.h5'


def split(net):
  graph, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)
  return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def zeros(make):
  """Return a net's trees, filled with zeros: quick, and visibly not loaded."""
  _, params, stats = split(nnx.eval_shape(make))
  fill = lambda tree: jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), tree)
  return fill(params), fill(stats)


def stem_net():
  return inception_v3.InceptionV3(endpoint='stem', rngs=nnx.Rngs(0))


def write_stem(path, first=1, drop=(), **extra):
  """Write the stem of Inception V3 as Keras' released files look."""
  sizes = [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64)]
  sizes += [(1, 1, 64, 80), (3, 3, 80, 192)]
  with h5py.File(path, 'w') as file:

    def put(layer, weight, shape, value):
      if layer not in drop:
        data = np.full(shape, value, np.float16)
        file[f'{layer}/{layer}/{weight}:0'] = data

    for i, shape in enumerate(sizes):
      suffix = f'_{i + first}' if i + first else ''
      put(f'conv2d{suffix}', 'kernel', shape, i + 1)
      for j, weight in enumerate(('beta', 'moving_mean', 'moving_variance')):
        norm = f'batch_normalization{suffix}'
        put(norm, weight, shape[-1:], 10 * (i + 1) + j)
    for layer, shape in extra.items():
      put(layer, 'kernel', shape, 0)
  return str(path)


@pytest.mark.parametrize('first', [0, 1, 95])
def test_numbering_may_start_anywhere(tmp_path, first):
  path = write_stem(tmp_path / 'w.h5', first)
  params, stats, report = load_weights.load(
    path, *zeros(stem_net), 'inception_v3'
  )
  for i in range(5):
    conv = params['stem'][f'conv{i}']
    assert (conv['conv']['kernel'] == i + 1).all()
    assert conv['conv']['kernel'].dtype == jnp.float32
    assert (conv['bn']['bias'] == 10 * (i + 1)).all()
    assert (stats['stem'][f'conv{i}']['bn']['mean'] == 10 * (i + 1) + 1).all()
    assert (stats['stem'][f'conv{i}']['bn']['var'] == 10 * (i + 1) + 2).all()
  assert len(report.loaded) == 20
  assert not any(report[1:])


@pytest.mark.parametrize(
  'weight, value, message',
  [
    ('conv2d_1/conv2d_1/kernel', np.inf, 'conv2d_1/kernel .1 of 864 are not f'),
    (
      'batch_normalization_2/batch_normalization_2/moving_variance',
      -1,
      'moving_variance .1 of 32 variances are below 0',
    ),
  ],
)
def test_weights_that_are_no_numbers_are_refused(
  tmp_path, weight, value, message
):
  path = write_stem(tmp_path / 'w.h5')
  with h5py.File(path, 'a') as file:
    array = file[f'{weight}:0']
    array[(0,) * array.ndim] = value
  with pytest.raises(ValueError, match=message):
    load_weights.load(path, *zeros(stem_net), 'inception_v3')


def test_missing_layers_are_named_and_can_be_allowed(tmp_path):
  path = write_stem(tmp_path / 'w.h5', drop=('conv2d_2', 'conv2d_4'))
  with pytest.raises(ValueError, match='conv2d_2/kernel, conv2d_4/kernel'):
    load_weights.load(path, *zeros(stem_net), 'inception_v3')
  with pytest.raises(ValueError, match='missing: conv2d_4/kernel'):
    load_weights.load(
      path, *zeros(stem_net), 'inception_v3', allow_missing='conv2d_2'
    )
  params, _, report = load_weights.load(
    path, *zeros(stem_net), 'inception_v3', allow_missing='conv2d_(2|4)'
  )
  assert report.missing == ('conv2d_2/kernel', 'conv2d_4/kernel')
  assert not params['stem']['conv1']['conv']['kernel'].any()


def test_unexpected_layers_are_named_and_can_be_allowed(tmp_path):
  path = write_stem(tmp_path / 'w.h5', predictions=(2048, 1000))
  with pytest.raises(ValueError, match='unexpected: predictions/kernel'):
    load_weights.load(path, *zeros(stem_net), 'inception_v3')
  *_, report = load_weights.load(
    path, *zeros(stem_net), 'inception_v3', allow_unexpected='pred.*'
  )
  assert report.unexpected == ('predictions/kernel',)


def test_shapes_that_do_not_fit_are_shown_with_both(tmp_path):
  path = write_stem(tmp_path / 'w.h5')
  narrow = lambda: inception_v3.InceptionV3(
    endpoint='stem', width=0.5, rngs=nnx.Rngs(0)
  )
  with pytest.raises(ValueError, match=r'\(3, 3, 3, 32\) for .*\(3, 3, 3, 16'):
    load_weights.load(path, *zeros(narrow), 'inception_v3')


def test_wrong_files_are_named(tmp_path):
  trees = zeros(stem_net)
  absent = str(tmp_path / 'absent.h5')
  with pytest.raises(ValueError, match=r'no weight file.*absent.h5.*notop.h5'):
    load_weights.load(absent, *trees, 'inception_v3')
  text = tmp_path / 'page.h5'
  text.write_text('<html>')
  with pytest.raises(ValueError, match=r'page.h5.* is not an HDF5 file'):
    load_weights.load(str(text), *trees, 'inception_v3')
  other = write_stem(tmp_path / 'w.h5')
  net = lambda: resnet.ResNet(endpoint='stem', rngs=nnx.Rngs(0))
  with pytest.raises(ValueError, match=r'resnet50_.*missing: conv1_conv'):
    load_weights.load(other, *zeros(net), 'resnet_50')
  with pytest.raises(ValueError, match='no weight table'):
    load_weights.load(other, *trees, 'vgg')


def test_net_sections(tmp_path):
  weights = {'backbone': {'path': write_stem(tmp_path / 'w.h5')}}
  net = {'name': 'age_net', 'backbone': {'name': 'inception_v3'}}
  params, stats = ({'backbone': tree} for tree in zeros(stem_net))
  params['age_head'] = {'kernel': jnp.zeros(3)}
  loaded, _ = load_weights.load_into_net(weights, net, params, stats)
  assert (loaded['backbone']['stem']['conv0']['conv']['kernel'] == 1).all()
  assert loaded['age_head'] is params['age_head']
  with pytest.raises(ValueError, match=r'pretrained.carpal names no backbone'):
    load_weights.load_into_net({'carpal': {}}, net, params, stats)
  torch = {'backbone': {'name': 'resnet', 'variant': 'v1.5'}}
  with pytest.raises(ValueError, match="variant='v1'"):
    load_weights.load_into_net(weights, torch, params, stats)


@pytest.fixture(name='real_file')
def _real_file():
  folder = os.environ.get('BONEAGE_WEIGHTS', '')
  path = os.path.join(folder, REAL_FILE)
  if not os.path.isfile(path):
    pytest.skip(f'BONEAGE_WEIGHTS names no folder that holds {REAL_FILE}')
  return path


def test_real_file(real_file):
  net = lambda endpoint: (
    lambda: inception_v3.InceptionV3(endpoint=endpoint, rngs=nnx.Rngs(0))
  )
  params, stats, report = load_weights.load(
    real_file, *zeros(net('mixed7')), 'inception_v3'
  )
  assert len(report.loaded) == 4 * 70
  assert not report.missing + report.fresh
  kernel = params['stem']['conv0']['conv']['kernel']
  assert 0.1 < float(kernel.std()) < 1
  assert float(stats['mixed7']['pool']['conv0']['bn']['var'].min()) >= 0
  with pytest.raises(ValueError, match='conv2d_82/kernel, conv2d_91/kernel'):
    load_weights.load(real_file, *zeros(net(None)), 'inception_v3')
  *_, report = load_weights.load(
    real_file,
    *zeros(net(None)),
    'inception_v3',
    allow_missing='conv2d_(82|91)',
  )
  assert len(report.loaded) == 4 * 94 - 2


@pytest.fixture(name='keras', scope='module')
def _keras():
  # Before the first import of Keras in this process.
  os.environ.setdefault('KERAS_BACKEND', 'jax')
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  keras = pytest.importorskip('keras')
  if keras.backend.backend() != 'jax':
    pytest.skip('Keras runs on another backend')
  return keras


def relative_error(ours, theirs):
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  assert ours.shape == theirs.shape
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


KERAS = {
  'convnext_tiny': ('ConvNeXtTiny', convnext.ConvNeXt, (64, 90)),
  # Built for no size in particular, Keras' net pads odd maps as if even.
  'efficientnet_b0': ('EfficientNetB0', efficientnet.EfficientNet, (64, 96)),
  'efficientnet_b4': (
    'EfficientNetB4',
    functools.partial(efficientnet.EfficientNet, variant='b4'),
    (64,),
  ),
  'inception_v3': ('InceptionV3', inception_v3.InceptionV3, (96, 128)),
  # Of a size that it knows, Keras' net pads odd maps as 'SAME' does.
  'mobilenet_v3': (
    'MobileNetV3Large',
    functools.partial(mobilenet_v3.MobileNetV3, width=0.35),
    (75,),
  ),
  'resnet_50': ('ResNet50', resnet.ResNet, (75, 96)),
  'xception': ('Xception', xception.Xception, (75, 96)),
}
# Keras' net takes 0 to 255.
RAW = ('convnext_tiny', 'efficientnet_b0', 'efficientnet_b4', 'mobilenet_v3')
# What else Keras' net is built with.
ARGUMENTS = {'mobilenet_v3': {'alpha': 0.35, 'input_shape': (75, 75, 3)}}
# Evaluated alone: the modules are those of B0.
LARGE = ('efficientnet_b4',)


@pytest.fixture(name='draw')
def _draw(keras, monkeypatch):
  """Random numbers of a test, which are also Keras' first weights."""
  rng = np.random.default_rng(0)

  def draw(_, shape, dtype=None):
    del dtype
    fan = np.prod(shape[:2] if shape[-1] == 1 else shape[:-1])
    return rng.normal(0, np.sqrt(2 / fan), shape).astype(np.float32)

  # Keras compiles a random operation for every shape.
  monkeypatch.setattr(keras.initializers.VarianceScaling, '__call__', draw)
  # Keras broadcasts [C] against maps.
  with jax.numpy_rank_promotion('allow'):
    yield rng


def fill(keras, model, rng):
  """Set what a fresh Keras net has at 0 and 1; drop no residual path."""
  nested = (getattr(layer, 'layers', [layer]) for layer in model.layers)
  for layer in itertools.chain.from_iterable(nested):
    values = [rng.uniform(-0.3, 0.3, w.shape) for w in layer.get_weights()]
    if isinstance(layer, keras.layers.Normalization):
      if values:
        mean = np.array([0.485, 0.456, 0.406])
        deviation = np.array([0.229, 0.224, 0.225])
        layer.set_weights([mean, deviation**2, np.array(0)])
        layer.finalize_state()
    elif isinstance(layer, keras.layers.BatchNormalization):
      values[-1] += 1.0  # moving variance
      if len(values) == 4:
        values[0] += 1.0  # gamma
      layer.set_weights(values)
    elif isinstance(layer, keras.layers.LayerNormalization):
      layer.set_weights([values[0] + 1.0, values[1]])
    elif layer.name.endswith('layer_scale'):
      layer.set_weights(values)
    elif isinstance(layer, keras.layers.Dropout):
      layer.rate = 0.0


@pytest.mark.filterwarnings('ignore')  # Keras': NumPy, legacy file format
@pytest.mark.parametrize(
  'name',
  [pytest.param(n, marks=[pytest.mark.ci] * (n != 'resnet_50')) for n in KERAS],
)
def test_equal_to_keras(keras, tmp_path, draw, name):
  path = str(tmp_path / 'keras.h5')
  theirs, backbone, sizes = KERAS[name]
  make = lambda: backbone(rngs=nnx.Rngs(0))
  arguments = {'input_shape': (None, None, 3)} | ARGUMENTS.get(name, {})
  model = getattr(keras.applications, theirs)(
    include_top=False, weights=None, **arguments
  )
  fill(keras, model, draw)
  model.save(path)
  graph = split(nnx.eval_shape(make))[0]
  params, stats, report = load_weights.load(path, *zeros(make), name)
  assert not report.missing + report.unexpected + report.fresh
  assert all('normalization' in name for name in report.unused)
  trainable = [v.value for v in model.trainable_variables]
  other = [v.value for v in model.non_trainable_variables]

  def ours(params, stats, x, training):
    net = nnx.merge(graph, params, stats)
    if training:
      net.train()
    else:
      net.eval()
    x = layers.preprocess(x, net.input_range) if name in RAW else x
    return net(x), nnx.to_pure_dict(nnx.state(net, nnx.BatchStat))

  jit = functools.partial(jax.jit, static_argnums=3)
  ours, theirs = jit(ours), jit(model.stateless_call)
  limits = (0, 255) if name in RAW else (-1, 1)

  for size in sizes:
    x = jnp.asarray(draw.uniform(*limits, (4, size, size, 3)), jnp.float32)
    y, same = ours(params, stats, x, False)
    assert relative_error(y, theirs(trainable, other, x, False)[0]) < 1e-4
    jax.tree.map(np.testing.assert_array_equal, same, stats)
  if name in LARGE:
    return

  y, moved = ours(params, stats, x, True)
  wanted, their_moved = theirs(trainable, other, x, True)
  # Rounding grows with depth where statistics come from the batch: at the end
  # of Inception V3 Keras in float32 is 2e-4 from Keras in float64.
  assert relative_error(y, wanted) < 5e-4
  # Moving statistics after the step, by way of a file again.
  for variable, value in zip(
    model.non_trainable_variables, their_moved, strict=True
  ):
    variable.assign(value)
  model.save(path)
  _, their_moved, _ = load_weights.load(path, *zeros(make), name)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    moved,
    their_moved,
  )


@pytest.mark.filterwarnings('ignore')  # Keras': legacy file format
@pytest.mark.large
def test_vgg16_with_its_top_is_equal_to_keras(keras, tmp_path, draw):
  model = keras.applications.VGG16(weights=None, classifier_activation=None)
  path = str(tmp_path / 'keras.h5')
  model.save(path)
  make = lambda: vgg16.VGG16(endpoint='fc8', rngs=nnx.Rngs(0))
  graph = split(nnx.eval_shape(make))[0]
  params, _, report = load_weights.load(path, *zeros(make), 'vgg16')
  assert not any(report[1:])
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 138_357_544
  x = jnp.asarray(draw.uniform(-128, 128, (2, 224, 224, 3)), jnp.float32)
  ours = jax.jit(lambda p, x: nnx.merge(graph, p)(x))(params, x)
  theirs = jax.jit(model.stateless_call)(
    [v.value for v in model.trainable_variables], [], x
  )[0]
  assert ours.shape == (2, 1, 1, 1000)
  assert relative_error(ours[:, 0, 0], theirs) < 1e-4
