"""Where the positions of a heat map lie in a film."""

from flax import nnx
from jax import numpy as jnp
import numpy as np
import pytest

from boneage_jax.models import layers
from boneage_jax.models import net as net_lib
from boneage_jax.models.backbones import inception_v3
from boneage_jax.regions import gradcam


@pytest.mark.parametrize(
  ('size_hw', 'grid'),
  [
    ((128, 128), ((8, 0.5), (8, 0.5))),
    ((96, 128), ((8, 13.5), (8, 13.5))),
    ((160, 96), ((16, 10.0), (8, 0.5))),
  ],
)
def test_to_input_puts_positions_where_they_lie(size_hw, grid):
  axes = list(zip(size_hw, grid, strict=True))
  centres = [
    first + step * np.arange(size // step - 1) for size, (step, first) in axes
  ]
  places = [
    (np.arange(2 * size // step) + 0.5) * step / 2 for size, (step, _) in axes
  ]
  # A map that says where its positions lie says so at every place redrawn.
  ramps = jnp.asarray(np.stack(np.meshgrid(*centres, indexing='ij')))
  redrawn = gradcam.to_input(ramps, grid, size_hw)
  inside = [
    np.clip(p, c[0], c[-1]) for p, c in zip(places, centres, strict=True)
  ]
  expected = np.stack(np.meshgrid(*inside, indexing='ij'))
  np.testing.assert_allclose(redrawn, expected, atol=1e-3)
  assert redrawn.dtype == jnp.float32
  # And a warm spot between positions stays where it is.
  y = centres[0][len(centres[0]) // 2] + 0.3 * grid[0][0]
  x = centres[1][len(centres[1]) // 2 - 1]
  heat = [
    np.exp(-0.5 * ((c - at) / (0.8 * step)) ** 2)
    for c, at, (step, _) in zip(centres, (y, x), grid, strict=True)
  ]
  spot = np.asarray(gradcam.to_input(np.outer(*heat)[None], grid, size_hw))[0]
  found = [spot.sum(1) @ places[0], spot.sum(0) @ places[1]] / spot.sum()
  np.testing.assert_allclose(found, [y, x], atol=0.5)


def test_to_input_rounds_to_whole_positions():
  maps, grid = jnp.ones((1, 5, 5)), ((16, 12.0), (64, 12.0))
  assert gradcam.to_input(maps, grid, (100, 100)).shape == (1, 12, 3)
  np.testing.assert_allclose(gradcam.to_input(maps, grid, (8, 10)), [[[1]]])


class Bright(net_lib.Net):
  """An age that is the brightness its backbone's map sees, sex unused."""

  inputs = ()

  def __init__(self, backbone):
    self.backbone = backbone
    self.grid_geometry = backbone.grid_geometry

  def features(self, batch, rngs=None):
    return self.backbone(batch['image'])

  def head(self, features, inputs, rngs=None):
    assert inputs == {}
    return {'age': jnp.square(features).sum((1, 2, 3))}


@pytest.mark.parametrize('hw', [(96, 128), (160, 80)])
@pytest.mark.parametrize('mirror', [False, True])
def test_a_planted_spot_lies_where_it_is_on_both_axes(hw, mirror):
  """Through an unpadded stem, on films that are not square."""
  backbone = inception_v3.InceptionV3(
    in_channels=1, width=0.125, endpoint='stem', rngs=nnx.Rngs(0)
  )
  for _, module in nnx.iter_modules(backbone):
    if isinstance(module, layers.Conv):  # blur, so that no side is preferred
      module.kernel[...] = jnp.ones_like(module.kernel[...]) / 9
  net = Bright(backbone)
  net.eval()
  places = [(0.35, 0.55), (0.6, 0.45)]
  image = np.zeros((2, *hw, 1), np.float32)
  for film, at in zip(image, places, strict=True):
    y, x = (round(share * n) for share, n in zip(at, hw, strict=True))
    film[y - 4 : y + 4, x - 4 : x + 4] = 1
  maps = nnx.jit(
    lambda net, image: gradcam.input_maps(
      net, {'image': image}, 'age', 'hires_cam', mirror
    )
  )(net, image)
  for heat, at in zip(np.asarray(maps), places, strict=True):
    for axis in (0, 1):
      along = (np.arange(heat.shape[axis]) + 0.5) / heat.shape[axis]
      found = heat.sum(1 - axis) @ along / heat.sum()
      assert abs(found - at[axis]) * hw[axis] < 2  # pixels; a step is 8
