"""Arrays of nets as safetensors."""

import json

import draw
import numpy as np
import pytest

from boneage_jax.runs import parameters


def tree():
  return {
    'params': {
      'conv': {'kernel': draw.normal((3, 3, 1, 4), 1)},
      'blocks': {
        0: {'scale': np.float32(2.5)},
        10: {'scale': draw.normal((2,))},
      },
    },
    'batch_stats': {'mean': draw.normal((4,), 2)},
  }


def test_arrays_come_back_bit_for_bit(tmp_path):
  path, arrays = str(tmp_path / 'net.safetensors'), tree()
  parameters.write(path, arrays)
  found = parameters.read(path, arrays)
  names = parameters.names(arrays)
  assert (
    names
    == parameters.names(found)
    == [
      *('batch_stats/mean', 'params/blocks/0/scale', 'params/blocks/10/scale'),
      'params/conv/kernel',
    ]
  )
  flat = lambda t: [
    np.asarray(x)
    for x in (
      t['batch_stats']['mean'],
      t['params']['blocks'][0]['scale'],
      t['params']['blocks'][10]['scale'],
      t['params']['conv']['kernel'],
    )
  ]
  for a, b in zip(flat(arrays), flat(found), strict=True):
    assert a.shape == b.shape and a.tobytes() == b.tobytes()


def test_the_file_is_what_its_header_says(tmp_path):
  """By hand: a length, JSON, and numbers; as `example.py` reads it."""
  path, arrays = tmp_path / 'net.safetensors', tree()
  parameters.write(str(path), arrays)
  data = path.read_bytes()
  start = 8 + int.from_bytes(data[:8], 'little')
  one = json.loads(data[8:start])['params/conv/kernel']
  low, high = one['data_offsets']
  flat = np.frombuffer(data[start + low : start + high], '<f4')
  kernel = np.asarray(arrays['params']['conv']['kernel'])
  assert one['dtype'] == 'F32' and one['shape'] == [3, 3, 1, 4]
  np.testing.assert_array_equal(flat.reshape(3, 3, 1, 4), kernel)


def test_arrays_of_another_net_are_refused(tmp_path):
  path, arrays = str(tmp_path / 'net.safetensors'), tree()
  parameters.write(path, arrays)
  other = tree()
  other['params']['conv']['kernel'] = np.zeros((3, 3, 1, 5), np.float32)
  other['params']['head'] = np.zeros((2,), np.float32)
  with pytest.raises(
    ValueError, match=r'2 differ .*\[3, 3, 1, 4\] for float32 '
  ):
    parameters.read(path, other)
  with open(path, 'wb') as file:
    file.write(b'\x80\x04not arrays')
  with pytest.raises(ValueError, match='expected a safetensors file'):
    parameters.read(path, arrays)
