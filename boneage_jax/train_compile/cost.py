"""What a compiled program costs a device, and the chips it may run on."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import math
import re
from typing import Any

MIB, GIB = 2**20, 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """What one chip has, see cloud.google.com/tpu/docs (v5e, v5p, v6e).

  Attributes:
    flops: peak per second of bfloat16 products. JAX takes float32 products in
      one bfloat16 pass, too; at precision 'highest' they take six.
    hbm: bytes.
    bandwidth: of the HBM, bytes per second.
  """

  flops: float
  hbm: int
  bandwidth: float


CHIPS = {  # by jax.Device.device_kind
  'TPU v5 lite': Chip(197e12, 16 * GIB, 819e9),
  'TPU v5': Chip(459e12, 95 * GIB, 2765e9),
  'TPU v6 lite': Chip(918e12, 32 * GIB, 1640e9),
}


@dataclasses.dataclass(frozen=True)
class Cost:
  """What one device does in one run of a program.

  Attributes:
    stage: whose program it is.
    dtype: of the net's computation.
    films: that this device works on.
    seconds: that the compiler took: of the clock, and of all cores together.
    memory: bytes by kind; `aliased` are outputs in the place of arguments.
    flops: operations; a product and a sum are two.
    traffic: bytes that operations read and write. On-chip memory counts too,
      so the HBM needs at most traffic / bandwidth.
    collectives: bytes that this device puts into each kind of collective.
    estimate: XLA's own seconds; 0 where it gives none.
  """

  stage: str
  dtype: str
  films: int
  seconds: tuple[float, float]
  memory: dict[str, int]
  flops: float
  traffic: float
  collectives: dict[str, int]
  estimate: float

  @property
  def total(self) -> int:
    """Bytes of memory in all."""
    return sum(self.memory.values()) - 2 * self.memory['aliased']

  def __str__(self) -> str:
    return (
      f'{self.films} films to a device take {self.total / GIB:.2f} GiB, '
      f'{self.flops / 1e9:.1f} GFLOP and {self.traffic / 1e9:.1f} GB of '
      f'traffic; compiled in {self.seconds[0]:.0f} s'
    )


def measure(
  compiled: Any,
  *,
  stage: str,
  dtype: str,
  films: int,
  seconds: tuple[float, float],
) -> Cost:
  """Read the cost of a `jax.stages.Compiled`."""
  memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
  return Cost(
    stage=stage,
    dtype=dtype,
    films=films,
    seconds=seconds,
    memory={
      'arguments': memory.argument_size_in_bytes,
      'outputs': memory.output_size_in_bytes,
      'aliased': memory.alias_size_in_bytes,
      'temporaries': memory.temp_size_in_bytes,
      'program': memory.generated_code_size_in_bytes,
    },
    flops=cost['flops'],
    traffic=cost['bytes accessed'],
    collectives=collective_bytes(compiled.as_text()),
    # Every operation without a time of its own, such as a bitcast, counts -1.
    estimate=cost.get('optimal_seconds', 0.0) % 1,
  )


class NoRoom(ValueError):
  """The compiler finds no room for a program on its device."""


def fit(
  compile_with: Callable[[int], Cost], films: int, hbm: int
) -> tuple[int, str]:
  """Find the largest power of two of films that a device has room for.

  Args:
    compile_with: films -> cost, or NoRoom.
    films: where to begin.
    hbm: bytes of the device.

  Returns:
    Films, 0 where there is no room for one; and why twice as many do not fit.
  """
  fits, fails, why = 0, math.inf, ''
  films = 2 ** int(math.log2(films))
  while True:
    try:
      cost = compile_with(films)
      if cost.total > hbm:
        raise NoRoom(f'{films} films need {cost.total / GIB:.2f} GiB.')
      # Memory grows with the films; two further ones then bracket the answer.
      growth = max(cost.memory['temporaries'] / films, 1)
      guess = films + (hbm - cost.total) / growth
      fits = films
    except NoRoom as error:
      fails, why = films, str(error)
    if fails <= max(2 * fits, 1):
      return fits, why
    if not fits:
      films = fails // 2
    elif fails == math.inf:
      films = max(2 ** int(math.log2(guess)), 2 * fits)
    else:
      films = 2 ** (int(math.log2(fits) + math.log2(fails)) // 2)


_RESULT = re.compile(r'^\s*(?:ROOT )?%(\S+) = (\(.*?\)|\S+) [a-z][\w-]*\(')
_COLLECTIVE = re.compile(
  r' (all-reduce|all-gather|reduce-scatter)(?:-start)?\(([^)]*)\)'
)
_SHAPE = re.compile(r'\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]')


def collective_bytes(text: str) -> dict[str, int]:
  """Bytes of the operands of the collectives in a program, by kind.

  Args:
    text: of an optimized HLO module, where operands are names.
  """
  sizes, operands = {}, []
  # Layouts, as {1,0:T(8,128)S(1)}, would be in the way of the parentheses.
  for line in re.sub(r'\{[^{}\n]*\}', '', text).splitlines():
    if result := _RESULT.match(line):
      sizes[result[1]] = _shape_bytes(result[2])
    if found := _COLLECTIVE.search(line):
      names = re.findall(r'%([^\s,]+)', found[2])
      operands += [(found[1], name) for name in names]
  total = {}
  for kind, name in operands:
    total[kind] = total.get(kind, 0) + sizes[name]
  return total


def _shape_bytes(shape: str) -> int:
  """Bytes of f32[8,3], or of all parts of a tuple of such."""
  total = 0
  for bits, sides in _SHAPE.findall(shape):
    count = 1
    for side in filter(None, sides.split(',')):
      count *= int(side)
    total += count * max(int(bits or 8) // 8, 1)
  return total


def cost_table(costs: Sequence[Cost], chip: Chip | None) -> str:
  """Costs as a table in Markdown, a column for each; per device and run."""
  rows = [('', [cost.stage for cost in costs])]
  add = lambda name, value: rows.append((name, [value(c) for c in costs]))
  add('computed in', lambda c: c.dtype)
  add('films', lambda c: str(c.films))
  add('compile time, of CPU', lambda c: '{:.0f} s, {:.0f} s'.format(*c.seconds))
  for kind in costs[0].memory:
    add(kind, lambda c, kind=kind: f'{c.memory[kind] / MIB:.1f} MiB')
  add('memory in all', lambda c: f'{c.total / MIB:.1f} MiB')
  if chip:
    add('share of the HBM', lambda c: f'{c.total / chip.hbm:.1%}')
  add('operations', lambda c: f'{c.flops / 1e9:.2f} GFLOP')
  add('memory traffic', lambda c: f'{c.traffic / 1e9:.2f} GB')
  add('collectives', lambda c: f'{sum(c.collectives.values()) / 1e6:.2f} MB')
  if chip:
    add('time of the MXU', lambda c: f'{c.flops / chip.flops * 1e3:.2f} ms')
    add('of the HBM', lambda c: f'{c.traffic / chip.bandwidth * 1e3:.2f} ms')
    share = lambda c, seconds: f'{c.flops / chip.flops / seconds:.1%}'
    roof = lambda c: max(c.flops / chip.flops, c.traffic / chip.bandwidth)
    add('roofline, share of peak', lambda c: share(c, roof(c)))
    add("XLA's estimate", lambda c: f'{c.estimate * 1e3:.2f} ms')
    add('its share of peak', lambda c: share(c, c.estimate))
  lines = [f'| {" | ".join([name, *cells])} |' for name, cells in rows]
  return '\n'.join([lines[0], '|---' * (len(costs) + 1) + '|', *lines[1:]])
