"""Configs of papers compute what the authors' code computes."""

from flax import nnx

from boneage_jax.models import backbones
from configs import attention_ldl
from configs import cascade
from configs import guided


def test_guided_is_trained_as_the_authors_do():
  section = guided.get_config().guided_net
  rule = section.optimizer
  assert (rule.name, rule.nesterov, rule.weight_decay_on) == (
    *('sgd', False, 'all'),
  )
  assert section.checkpoint_selection == 'last'
  options = section.net.backbone.to_dict() | {'endpoint': 'stage2'}
  backbone = nnx.eval_shape(
    lambda: backbones.create(options, dtype='float32', rngs=nnx.Rngs(0))
  )
  block = backbone.stage2.block1
  # torchvision's form: strides in the 3x3, no biases, eps and momentum of 1e-5
  # and 0.1 of the new (ours is 0.9 of the old), ImageNet's mean and deviation.
  assert (block.conv1.conv.stride, block.conv2.conv.stride) == (1, 2)
  assert block.conv1.conv.bias is None
  assert (block.conv1.bn.epsilon, block.conv1.bn.momentum) == (1e-5, 0.9)
  assert backbone.input_range == 'torch'
  for preset in ('phantom', 'thumbnails'):
    chosen = guided.get_config(preset).guided_net.checkpoint_selection
    assert chosen == 'best'  # as their figures are


def test_chen_has_the_eps_of_keras():
  config = attention_ldl.get_config()
  for name in ('hand_localizer', 'r1_localizer', 'r2_localizer', 'assessor'):
    assert config[name].optimizer.eps == 1e-7
  assert cascade.get_config().assessor.optimizer.eps == 1e-8
