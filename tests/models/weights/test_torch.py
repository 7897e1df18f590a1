"""PyTorch's weight files: names, layouts, and equality with its own nets."""

import json
import struct

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from boneage_jax.models.backbones import convnext
from boneage_jax.models.backbones import efficientnet
from boneage_jax.models.backbones import resnet
from boneage_jax.models.weights import load as load_weights
from boneage_jax.models.weights import read


def split(net):
  graph, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)
  return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def zeros(make):
  _, params, stats = split(nnx.eval_shape(make))
  fill = lambda tree: jax.tree.map(lambda x: jnp.zeros(x.shape), tree)
  return fill(params), fill(stats)


def stem():
  return resnet.ResNet(
    depth=18, variant='v1.5', endpoint='stem', rngs=nnx.Rngs(0)
  )


def write_stem(path, drop=(), **extra):
  """Write the stem and the head of a ResNet as torchvision saves them."""
  ramp = lambda *shape: np.arange(np.prod(shape), dtype=np.float32)
  weights = {
    'conv1.weight': ramp(64, 3, 7, 7).reshape(64, 3, 7, 7).astype(np.float16),
    'bn1.weight': ramp(64),
    'bn1.bias': ramp(64) + 100,
    'bn1.running_mean': ramp(64) + 200,
    'bn1.running_var': ramp(64) + 300,
    'bn1.num_batches_tracked': np.array(7),
    'fc.weight': ramp(1000, 512).reshape(1000, 512),
    'fc.bias': ramp(1000),
    **extra,
  }
  weights = {k: v for k, v in weights.items() if k not in drop}
  safetensors.numpy.save_file(weights, path)
  return str(path)


def test_every_weight_arrives_where_it_belongs(tmp_path):
  path = write_stem(tmp_path / 'w.safetensors')
  params, stats, report = load_weights.load(path, *zeros(stem), 'resnet_18')
  conv, bn = params['stem']['conv']['conv'], params['stem']['conv']['bn']
  assert conv['kernel'].dtype == jnp.float32
  # Row 2, column 3 of channel 1's filter for output 4, counted by hand.
  value = np.float16(((4 * 3 + 1) * 7 + 2) * 7 + 3)
  assert conv['kernel'].shape == (7, 7, 3, 64)
  assert conv['kernel'][2, 3, 1, 4] == value
  assert bn['scale'][5] == 5 and bn['bias'][5] == 105
  statistics = stats['stem']['conv']['bn']
  assert statistics['mean'][5] == 205 and statistics['var'][5] == 305
  assert len(report.loaded) == 5
  assert report.unused == ('fc/bias', 'fc/weight')
  assert not report.missing + report.unexpected + report.fresh


def test_misfits_are_named_and_can_be_allowed(tmp_path):
  path = write_stem(
    tmp_path / 'w.safetensors', drop=('bn1.bias',), **{'se.weight': np.ones(3)}
  )
  with pytest.raises(
    ValueError, match=r'missing: bn1/bias .*unexpected: se/weight'
  ):
    load_weights.load(path, *zeros(stem), 'resnet_18')
  params, _, report = load_weights.load(
    path,
    *zeros(stem),
    'resnet_18',
    allow_missing='bn1',
    allow_unexpected='s.',
  )
  assert not params['stem']['conv']['bn']['bias'].any()
  assert report.missing == ('bn1/bias',)
  assert report.unexpected == ('se/weight',)
  narrow = lambda: resnet.ResNet(
    depth=18, variant='v1.5', endpoint='stem', width=0.5, rngs=nnx.Rngs(0)
  )
  path = write_stem(tmp_path / 'whole.safetensors')
  with pytest.raises(ValueError, match=r'\(7, 7, 3, 64\) for .*\(7, 7, 3, 32'):
    load_weights.load(path, *zeros(narrow), 'resnet_18')


def test_wrong_files_are_named(tmp_path):
  trees = zeros(stem)
  absent = str(tmp_path / 'absent.safetensors')
  with pytest.raises(
    ValueError, match=r'no weight file.*timm/resnet18.tv_in1k'
  ):
    load_weights.load(absent, *trees, 'resnet_18')
  page = tmp_path / 'page.safetensors'
  page.write_text('<html>' * 9)
  with pytest.raises(ValueError, match='is not a safetensors file'):
    load_weights.load(str(page), *trees, 'resnet_18')
  with pytest.raises(ValueError, match="no weight table for 'xception'"):
    load_weights.load(str(page), *trees, 'xception')


def test_numbers_of_eight_bits_are_refused_by_name(tmp_path):
  header = json.dumps(
    {'a': {'dtype': 'F8_E4M3', 'shape': [4], 'data_offsets': [0, 4]}}
  ).encode()
  path = tmp_path / 'w.safetensors'
  path.write_bytes(struct.pack('<Q', len(header)) + header + b'abcd')
  with pytest.raises(ValueError, match=r'w\.safetensors.*float8: save it as'):
    read.read(str(path), 'resnet_18')


@pytest.mark.parametrize(
  'path, backbone, message',
  [
    ('a.safetensors', {'name': 'resnet'}, "variant='v1.5', not 'v1'"),
    (
      'a.h5',
      {'name': 'efficientnet', 'padding': 'torch'},
      "padding='tf', not 't",
    ),
  ],
)
def test_files_of_another_form_are_refused(path, backbone, message):
  trees = {'backbone': {}}
  with pytest.raises(ValueError, match=message):
    load_weights.load_into_net(
      {'backbone': {'path': path}}, {'backbone': backbone}, trees, trees
    )


@pytest.mark.parametrize(
  'name, metadata, message',
  [
    ('resnetaa50.d_in12k.safetensors', None, 'file name .resnetaa50'),
    ('resnetblur50.safetensors', None, 'file name .resnetblur50'),
    ('models--timm--resnetblur18.x/0/model.safetensors', None, 'folder .model'),
    ('w.safetensors', {'architecture': 'resnetaa50'}, 'metadata .architect'),
    ('w.safetensors', {'about': 'ResNet-18 + BlurPool'}, 'metadata .about'),
    ('timm/model.safetensors', {}, 'config.json .resnetaa50'),
    ('blurred.safetensors', {'layer': 'layer1.0.aa.filt'}, 'layer .layer1.0.a'),
  ],
)
def test_anti_aliased_resnets_are_refused(tmp_path, name, metadata, message):
  path = tmp_path / name
  path.parent.mkdir(parents=True, exist_ok=True)
  write_stem(path)
  weights = safetensors.numpy.load_file(path)
  if metadata and 'layer' in metadata:
    weights[metadata['layer']] = np.ones((1, 1, 3, 3), np.float32)
    metadata = None
  if name.startswith('timm'):
    text = '{"architecture": "resnetaa50", "num_classes": 1000}'
    (path.parent / 'config.json').write_text(text)
  safetensors.numpy.save_file(weights, path, metadata)
  with pytest.raises(ValueError, match=f'anti-aliased ResNet .{message}'):
    load_weights.load(
      str(path), *zeros(stem), 'resnet_18', allow_unexpected='layer1.*'
    )


@pytest.mark.parametrize(
  'name', ['resnet18.a1_in1k', 'resnet18_baal', 'tv_resnet18', 'model']
)
def test_plain_resnets_are_read_whatever_they_are_called(tmp_path, name):
  path = write_stem(tmp_path / f'{name}.safetensors')
  (tmp_path / 'config.json').write_text('{"architecture": "resnet18"}')
  _, _, report = load_weights.load(path, *zeros(stem), 'resnet_18')
  assert len(report.loaded) == 5


@pytest.mark.parametrize(
  'name, padding, told',
  [
    ('tf_efficientnet_b0.ns_jft_in1k', 'torch', "'tf'"),
    ('efficientnet_b0.ra_in1k', 'tf', "'torch'"),
  ],
)
def test_efficientnets_that_pad_otherwise_are_refused(name, padding, told):
  trees, path = {'backbone': {}}, f'{name}.safetensors'
  backbone = {'name': 'efficientnet', 'padding': padding}
  with pytest.raises(ValueError, match=f'EfficientNet with padding={told}'):
    load_weights.load_into_net(
      {'backbone': {'path': path}}, {'backbone': backbone}, trees, trees
    )


@pytest.mark.parametrize(
  'name, change, message',
  [
    (
      'conv1.weight',
      lambda x: np.where(x == 7, np.nan, x),
      '1 of 9408 are not',
    ),
    ('bn1.bias', lambda x: np.where(x > 150, np.inf, x), '13 of 64 are not'),
    ('bn1.running_var', lambda x: x - 310, '10 of 64 variances are below 0'),
    ('bn1.running_mean', lambda x: x.astype(np.int32), 'int32, no floating'),
  ],
)
def test_weights_that_are_no_numbers_are_refused(
  tmp_path, name, change, message
):
  path = tmp_path / 'w.safetensors'
  write_stem(path)
  weights = safetensors.numpy.load_file(path)
  weights[name] = change(weights[name])
  safetensors.numpy.save_file(weights, path)
  where = name.replace('.', '/')
  with pytest.raises(
    ValueError, match=rf'w.safe.*1 arrays.*{where} .{message}'
  ):
    load_weights.load(str(path), *zeros(stem), 'resnet_18')


def test_net_without_statistics(tmp_path):
  make = lambda: convnext.ConvNeXt(endpoint='stem', rngs=nnx.Rngs(0))
  weights = {
    'stem.0.weight': np.ones((96, 3, 4, 4), np.float32),
    'stem.0.bias': np.full(96, 2, np.float32),
    'stem.1.weight': np.full(96, 3, np.float32),
    'stem.1.bias': np.full(96, 4, np.float32),
    'stages.0.blocks.0.gamma': np.ones(96, np.float32),
  }
  path = str(tmp_path / 'w.safetensors')
  safetensors.numpy.save_file(weights, path)
  params, stats = load_weights.load_into_net(
    {'backbone': {'path': path, 'allow_missing': 'stages.*|head.*'}},
    {'backbone': {'name': 'convnext'}},
    {'backbone': zeros(make)[0], 'age_head': {}},
    {},
  )
  assert stats == {}
  found = params['backbone']['stem']
  assert (found['conv']['kernel'] == 1).all()
  assert (found['conv']['bias'] == 2).all()
  assert (found['norm']['scale'] == 3).all()
  assert (found['norm']['bias'] == 4).all()


def fill(model, torch):
  """Draw every weight, so that none can stand in for another."""
  rng = np.random.default_rng(0)
  weights = model.state_dict()
  for name, value in weights.items():
    if value.ndim > 1:
      deviation = np.sqrt(2 / value[0].numel())
      new = rng.normal(0, deviation, value.shape)
    elif name.endswith(('running_var', 'weight')):
      new = rng.uniform(0.7, 1.3, value.shape)
    else:
      new = rng.uniform(-0.3, 0.3, value.shape)
    weights[name] = torch.as_tensor(new).to(value.dtype)
  model.load_state_dict(weights)
  return model.eval()


RESNET = {'name': 'resnet', 'variant': 'v1.5'}
TORCH = {
  'resnet18': (resnet.ResNet, RESNET | {'depth': 18}),
  'resnet34': (resnet.ResNet, RESNET | {'depth': 34}),
  'resnet50': (resnet.ResNet, RESNET),
  'convnext_tiny': (convnext.ConvNeXt, {'name': 'convnext'}),
  'efficientnet_b0': (
    efficientnet.EfficientNet,
    {'name': 'efficientnet', 'padding': 'torch'},
  ),
  'tf_efficientnet_b4': (
    efficientnet.EfficientNet,
    {'name': 'efficientnet', 'variant': 'b4'},
  ),
}


@pytest.mark.parametrize('name', TORCH)
def test_equal_to_torch(name, tmp_path):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  timm = pytest.importorskip('timm', reason='timm is not installed')
  save_file = pytest.importorskip('safetensors.torch').save_file
  model = fill(timm.create_model(name), torch)
  path = str(tmp_path / 'w.safetensors')
  save_file(model.state_dict(), path)

  backbone, config = TORCH[name]
  arguments = {k: v for k, v in config.items() if k != 'name'}
  make = lambda: backbone(rngs=nnx.Rngs(0), **arguments)
  graph = split(nnx.eval_shape(make))[0]
  params, stats, report = load_weights.load(
    path, *zeros(make), load_weights.table_name(config)
  )
  assert not report.missing + report.unexpected + report.fresh
  assert len(report.unused) == 2  # the classifier

  @jax.jit
  def ours(params, stats, x):
    net = nnx.merge(graph, params, stats)
    net.eval()
    return net(x)

  for size in (64, 75):
    x = np.random.default_rng(1).normal(size=(2, size, size, 3))
    x = x.astype(np.float32)
    with torch.no_grad():
      y = model.forward_features(torch.as_tensor(x).permute(0, 3, 1, 2))
      # timm averages first; our map is normalised at every position.
      y = model.head.norm(y) if name.startswith('convnext') else y
    wanted = y.permute(0, 2, 3, 1).numpy()
    y = np.asarray(ours(params, stats, x))
    assert np.abs(y - wanted).max() < 1e-4 * np.abs(wanted).max()
