"""Ages by StableHLO alone; needs jax, flatbuffers and numpy.

  python example.py MODEL INPUTS.npz ...

MODEL is the folder of the model, INPUTS are of `predict --dump_inputs`.
"""

import json
import pathlib
import sys

import jax
from jax import export
import numpy as np

HERE = pathlib.Path(__file__).parent
ABOUT = json.loads((HERE / 'programs.json').read_text())
FORM = 'cpu' if jax.default_backend() == 'cpu' else 'accelerator'


def load(about: dict) -> tuple:
  """Return a program and its arrays (safetensors: length, header, numbers)."""
  data = pathlib.Path(sys.argv[1], about['arrays_file']).read_bytes()
  start = 8 + int.from_bytes(data[:8], 'little')
  header, arrays = json.loads(data[8:start]), []
  for one in map(header.get, about['arrays']):
    low, high = (start + place for place in one['data_offsets'])
    flat = np.frombuffer(data[low:high], one['dtype'].replace('F32', '<f4'))
    arrays.append(flat.reshape(one['shape']))
  exported = bytearray((HERE / about['files'][FORM]).read_bytes())
  options = about['compiler_options'][FORM] or None
  call = jax.jit(export.deserialize(exported).call, compiler_options=options)
  return call, jax.device_put(arrays), list(about['inputs'])


def age(node: dict, seen: dict) -> np.ndarray:
  """Return months [N] of a net, the mean of its views, or of members."""
  if 'net' in node:
    (call, arrays, keys), name = nets[node['net']], node['net']
    views = range(int(seen[f'{name}:views']))
    each = [{key: seen[f'{name}:{k}:{key}'] for key in keys} for k in views]
    ages = [jax.device_get(call(arrays, one))['age'] for one in each]
    return np.mean(ages, axis=0)
  pairs = zip(node['members'], node['weights'][str(seen['sex'])], strict=True)
  read = [(age(member, seen), weight) for member, weight in pairs if weight]
  ages, weights = zip(*read, strict=True)
  return np.tensordot(np.array(weights), np.stack(ages), 1)


nets = {name: load(about) for name, about in ABOUT['nets'].items()}
for path in sys.argv[2:]:
  print(path, repr(float(age(ABOUT['age'], dict(np.load(path)))[0])))
