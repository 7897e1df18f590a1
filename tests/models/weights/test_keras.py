"""Weights of Keras' files, by name."""

import os

from flax import nnx
import jax.numpy as jnp
import net_trees
import numpy as np
import pytest

from boneage_jax.models.backbones import inception_v3
from boneage_jax.models.backbones import resnet
from boneage_jax.models.weights import load as load_weights
from boneage_jax.models.weights import read

h5py = pytest.importorskip('h5py')

REAL_FILE = 'inception_v3_imagenet_notop_fp16_minus_2_kernels.h5'


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
    path, *net_trees.zeros(stem_net), 'inception_v3'
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
    load_weights.load(path, *net_trees.zeros(stem_net), 'inception_v3')


def test_missing_layers_are_named_and_can_be_allowed(tmp_path):
  path = write_stem(tmp_path / 'w.h5', drop=('conv2d_2', 'conv2d_4'))
  with pytest.raises(ValueError, match='conv2d_2/kernel, conv2d_4/kernel'):
    load_weights.load(path, *net_trees.zeros(stem_net), 'inception_v3')
  with pytest.raises(ValueError, match='missing: conv2d_4/kernel'):
    load_weights.load(
      path, *net_trees.zeros(stem_net), 'inception_v3', allow_missing='conv2d_2'
    )
  params, _, report = load_weights.load(
    path,
    *net_trees.zeros(stem_net),
    'inception_v3',
    allow_missing='conv2d_(2|4)',
  )
  assert report.missing == ('conv2d_2/kernel', 'conv2d_4/kernel')
  assert not params['stem']['conv1']['conv']['kernel'].any()


def test_unexpected_layers_are_named_and_can_be_allowed(tmp_path):
  path = write_stem(tmp_path / 'w.h5', predictions=(2048, 1000))
  with pytest.raises(ValueError, match='unexpected: predictions/kernel'):
    load_weights.load(path, *net_trees.zeros(stem_net), 'inception_v3')
  *_, report = load_weights.load(
    path, *net_trees.zeros(stem_net), 'inception_v3', allow_unexpected='pred.*'
  )
  assert report.unexpected == ('predictions/kernel',)


def test_shapes_that_do_not_fit_are_shown_with_both(tmp_path):
  path = write_stem(tmp_path / 'w.h5')
  narrow = lambda: inception_v3.InceptionV3(
    endpoint='stem', width=0.5, rngs=nnx.Rngs(0)
  )
  with pytest.raises(ValueError, match=r'\(3, 3, 3, 32\) for .*\(3, 3, 3, 16'):
    load_weights.load(path, *net_trees.zeros(narrow), 'inception_v3')


def test_wrong_files_are_named(tmp_path):
  trees = net_trees.zeros(stem_net)
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
    load_weights.load(other, *net_trees.zeros(net), 'resnet_50')
  with pytest.raises(ValueError, match='no weight table'):
    load_weights.load(other, *trees, 'vgg')


def test_a_file_that_is_cut_is_named(tmp_path):
  path = write_stem(tmp_path / 'w.h5')
  os.truncate(path, os.path.getsize(path) // 2)
  with pytest.raises(ValueError, match=r'w\.h5.* is cut or damaged .*trunc'):
    read.read(path, 'inception_v3')


def test_net_sections(tmp_path):
  weights = {'backbone': {'path': write_stem(tmp_path / 'w.h5')}}
  net = {'name': 'age_net', 'backbone': {'name': 'inception_v3'}}
  params, stats = ({'backbone': tree} for tree in net_trees.zeros(stem_net))
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
    real_file, *net_trees.zeros(net('mixed7')), 'inception_v3'
  )
  assert len(report.loaded) == 4 * 70
  assert not report.missing + report.fresh
  kernel = params['stem']['conv0']['conv']['kernel']
  assert 0.1 < float(kernel.std()) < 1
  assert float(stats['mixed7']['pool']['conv0']['bn']['var'].min()) >= 0
  with pytest.raises(ValueError, match='conv2d_82/kernel, conv2d_91/kernel'):
    load_weights.load(real_file, *net_trees.zeros(net(None)), 'inception_v3')
  *_, report = load_weights.load(
    real_file,
    *net_trees.zeros(net(None)),
    'inception_v3',
    allow_missing='conv2d_(82|91)',
  )
  assert len(report.loaded) == 4 * 94 - 2
