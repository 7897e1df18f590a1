"""Where the memory traffic of a compiled step lies.

  python results/commands/tpu_traffic.py localizer
  python results/commands/tpu_traffic.py assessor

Compiles a stage of configs/cascade.py for TPU v5e:2x4, 64 films to a device in
bfloat16, with the least effort, and adds up the arrays that its kernels read
and write: by the sides of the largest map among them, and by the operation
that XLA named the kernel after. XLA's own figure is larger: it counts an array
again for each use within a kernel.
"""

import collections
import math
import re
import sys

from boneage_jax.train_compile import __main__ as command
from boneage_jax.train_compile import programs
from configs import cascade

FILMS = 64
FREE = ('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast')
SHAPE = re.compile(r'\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]')
RESULT = re.compile(
  r'^\s*(?:ROOT )?%(\S+) = (\((?:[^()]|\([^()]*\))*\)|\S+) ([a-z][\w-]*)\((.*)'
)


def arrays(text):
  """Yield bytes and sides of the arrays of a type such as f32[8,3]."""
  for bits, shape in SHAPE.findall(text):
    sides = [int(side) for side in filter(None, shape.split(','))]
    yield math.prod(sides) * max(int(bits or 8) // 8, 1), sides


def main():
  """Compile the stage that the command names, and print its traffic."""
  stage = sys.argv[1]
  command.set_up()
  config = cascade.get_config()
  with config.unlocked():
    config[stage].net.dtype = 'bfloat16'
  devices, texts = command.find_devices('v5e:2x4'), []
  measure = programs.cost.measure

  def keep(compiled, **options):
    texts.append(compiled.as_text())
    return measure(compiled, **options)

  programs.cost.measure = keep
  print(programs.compile_stage(config, stage, devices, FILMS, quick=True))
  made, maps, names = {}, collections.Counter(), collections.Counter()
  for line in texts[0].partition('\nENTRY')[2].splitlines():
    found = RESULT.match(re.sub(r'\{[^{}\n]*\}', '', line))
    if not found:
      continue
    name, result, operation, rest = found.groups()
    made[name] = list(arrays(result))
    if operation in FREE:
      continue
    operands = re.findall(r'%([\w.-]+)', rest.partition('), ')[0])
    used = made[name] + [a for one in operands for a in made.get(one, [])]
    size = sum(count for count, _ in used)
    sides = [s for _, s in used if len(s) == 4 and s[0] == FILMS]
    largest = max(sides, key=math.prod, default=None)
    maps['x'.join(map(str, largest[1:3])) if largest else 'none'] += size
    of = re.search(r'op_name="([^"]*)"', line)
    path = of[1] if of else ''
    way = 'backward' if 'transpose' in path else 'forward'
    names[f'{way} {path.rpartition("/")[2]}'] += size
  total = sum(maps.values())
  print(f'{stage}: kernels read and write {total / 1e9:.1f} GB')
  for some in (maps, names):
    for name, size in some.most_common(8):
      print(f'  {name}: {size / 1e9:.1f} GB, {100 * size / total:.0f} %')


if __name__ == '__main__':
  main()
