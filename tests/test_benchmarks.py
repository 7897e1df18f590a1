"""Benchmarks measure what runs read."""

import numpy as np
import pytest

from benchmarks import feeding
from benchmarks import input_pipeline
from boneage_jax.data import preprocess
from boneage_jax.imaging import codec
from boneage_jax.imaging import png
from configs import cascade


@pytest.mark.parametrize('stored', ['PNG', 'JPEG'])
def test_crops_are_as_large_as_a_stage_stores_them(stored):
  film = png.encode(np.zeros((90, 70), np.uint8))
  (record,) = feeding.records('crops', stored, [film])
  assert set(record) == set(input_pipeline.record('crops', film))
  for crop in record['regions']:
    # 300 pixels, twice as fine, with 0.15 of the side on both sides.
    assert codec.decode_stored(crop).shape == (780, 780)
  options = cascade.get_config().assessor.input
  example = preprocess.make_example(record, options)
  assert example['regions'].shape == (2, 300, 300, 1)
