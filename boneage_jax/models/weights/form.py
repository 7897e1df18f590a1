"""What a weight file says of its net, beside names and shapes.

Nets that differ in layers without weights have the same names and shapes:
ResNets with anti-aliased strides, EfficientNets that pad at other sides. Their
file name, the metadata in the file or the config.json beside it may tell.
"""

from collections.abc import Iterable
import os
import re

from boneage_jax.core import stages
from boneage_jax.core import storage

# Names that timm and others give to ResNets that blur or average before they
# stride, and layers of such nets that keep their filter in the file.
ANTI_ALIASED = re.compile(
  r'resnet(aa|blur)|resnet\w*[_.-](aa|blur|lpf\d)(?![a-z])'
  r'|anti.?alias|blur.?pool',
  re.IGNORECASE,
)
BLUR_LAYER = re.compile(r'(^|[./])(aa|blur\w*|filt|lpf\d?)([./]|$)')
EFFICIENTNET = re.compile(r'(tf_)?efficientnet', re.IGNORECASE)


def statements(path: str) -> list[tuple[str, str]]:
  """Return what is written about the net of a file, as (where, text) pairs."""
  name = os.path.basename(path)
  found = [('file name', name)]
  if name in ('model.safetensors', 'pytorch_model.safetensors'):
    # The hub calls all files so; its folders have the name of the net.
    folders = os.path.dirname(os.path.abspath(path)).split(os.sep)
    hub = [folder for folder in folders if folder.startswith('models--')]
    found += [('folder', folder) for folder in (*hub, folders[-1])]
  if name.endswith('.safetensors') and os.path.isfile(path):
    found += [('metadata', text) for text in _metadata(path)]
    # timm writes one beside the weights, of the same name as a run's.
    beside = os.path.join(os.path.dirname(path), stages.CONFIG)
    if os.path.isfile(beside):
      content = storage.read_json(beside)
      if isinstance(content, dict) and 'architecture' in content:
        found.append((stages.CONFIG, str(content['architecture'])))
  return found


def check_resnet(path: str, layers: Iterable[str]) -> None:
  """Refuse the weights of a ResNet that blurs before it strides.

  Args:
    path: of the file.
    layers: names in the file.

  Raises:
    ValueError: the file says so; names where.
  """
  signs = [
    f'{where} {text!r}'
    for where, text in statements(path)
    if ANTI_ALIASED.search(text)
  ]
  signs += [f'layer {name!r}' for name in layers if BLUR_LAYER.search(name)]
  if signs:
    raise ValueError(
      f'{path!r} holds an anti-aliased ResNet ({signs[0]}), another function '
      'of the same kernels: take the weights of a plain one, such as '
      'timm/resnet50.tv_in1k.'
    )


def check_efficientnet(path: str, padding: str) -> None:
  """Refuse weights of an EfficientNet that pads otherwise.

  Args:
    path: of the file.
    padding: of our net, 'tf' or 'torch'.

  Raises:
    ValueError: the file says that it pads otherwise; names where.
  """
  for where, text in statements(path):
    match = EFFICIENTNET.search(text)
    told = 'tf' if match and match[1] else 'torch'
    if match and told != padding:
      raise ValueError(
        f'{path!r} holds an EfficientNet with padding={told!r} ({where} '
        f'{text!r}), not {padding!r}.'
      )


def _metadata(path: str) -> list[str]:
  import safetensors

  try:
    with safetensors.safe_open(path, 'np') as file:
      return [f'{k}={v}' for k, v in (file.metadata() or {}).items()]
  except safetensors.SafetensorError:  # said when its weights are read
    return []
