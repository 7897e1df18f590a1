"""Sizes of pictures: a side, or height and width."""

from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.core import sizes


@pytest.mark.parametrize(
  ('size', 'expected'),
  [
    (96, (96, 96)),
    (np.int64(5), (5, 5)),
    ((96, 128), (96, 128)),
    ([96, 128], (96, 128)),
    (ConfigDict({'size': [3, 4]}).size, (3, 4)),
  ],
)
def test_a_side_or_height_and_width(size, expected):
  found = sizes.size_hw(size)
  assert found == expected and {type(n) for n in found} == {int}


@pytest.mark.parametrize('size', [0, -3, 9.5, '96', (96,), (1, 2, 3), (0, 5)])
def test_anything_else_is_refused(size):
  with pytest.raises(ValueError, match=r'input.size.*\(height, width\), got'):
    sizes.size_hw(size)
