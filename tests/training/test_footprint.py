"""What a net costs by shapes, against counts made by hand."""

import pytest
import resnet18

from boneage_jax.training import footprint


def localizer(**changes):
  config = resnet18.config()
  config.localizer.update(changes)
  return config


def test_operations_are_those_of_the_layers():
  expected = (
    resnet18.products(64, 3, 64, 7, 2)
    + 4 * resnet18.products(16, 64, 64, 3)
    + resnet18.products(16, 64, 128, 3, 2)
    + resnet18.products(16, 64, 128, 1, 2)
    + 3 * resnet18.products(8, 128, 128, 3)
  )
  found = footprint.measure(localizer(), 'localizer')
  assert found.flops == pytest.approx(2 * expected, rel=0.1)


def test_bytes_are_those_of_the_arrays():
  # Kernels of the layers above, with scale and bias of each BatchNorm, and the
  # head: 128 features and 32 of the sex to 240 bins, and a weight of each.
  layers = [(7, 3, 64), *[(3, 64, 64)] * 4, (3, 64, 128), (1, 64, 128)]
  layers += [(3, 128, 128)] * 3
  parameters = sum(k * k * i * o + 2 * o for k, i, o in layers)
  parameters += (128 + 32) * 240 + 240 + 1 * 32 + 32 + 2
  statistics = sum(2 * o for *_, o in layers)
  found = footprint.measure(localizer(ema=0.9), 'localizer')
  assert found.parameters == parameters
  assert found.variables == 4 * (parameters + statistics)
  # Adam's two moments and the averaged parameters; a few counters.
  state = found.variables + 3 * 4 * parameters
  assert state <= found.state < state + 100
  without = footprint.measure(localizer(ema=0.0), 'localizer')
  assert found.state - without.state == 4 * parameters


def test_memory_grows_with_films_and_their_area():
  small = footprint.measure(localizer(), 'localizer')
  assert small.memory(8) - small.memory(4) == 4 * small.film > 0
  config = localizer()
  config.localizer.input.size = 128
  large = footprint.measure(config, 'localizer')
  assert large.film == pytest.approx(4 * small.film, rel=0.1)
  # Stem and two residual stages keep at least what their convolutions give.
  outputs = 32 * 32 * 64 + 4 * 16 * 16 * 64 + 5 * 8 * 8 * 128
  assert 4 * outputs < small.film < 4 * 4 * outputs
