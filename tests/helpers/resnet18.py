"""A residual net whose operations can be counted by hand."""

from ml_collections import ConfigDict
import tiny_cascade


def config(size=64):
  """The tiny cascade with a localizer of 18 layers up to 'stage2'."""
  made = tiny_cascade.get_config()
  made.localizer.input.size = size
  made.localizer.net.backbone = ConfigDict(
    {'name': 'resnet', 'depth': 18, 'width': 1.0, 'endpoint': 'stage2'}
  )
  return made


def products(size, channels, to_channels, kernel, stride=1):
  """Products of one film's convolution that pads kernel // 2 on each side.

  Those with the padding are left out, as XLA leaves them out.
  """
  pad = kernel // 2
  out = (size + 2 * pad - kernel) // stride + 1
  inside = sum(
    0 <= stride * i + tap - pad < size
    for i in range(out)
    for tap in range(kernel)
  )
  return inside**2 * channels * to_channels
