"""Programs compiled from shapes alone, against counts made by hand."""

import importlib.util
import math
import os
import pathlib
import re
import runpy
import signal
import subprocess
import sys

from absl import app
import jax
import pytest
import resnet18
import tiny_cascade

from boneage_jax import models
from boneage_jax.models import ops
from boneage_jax.train_compile import __main__ as train_compile
from boneage_jax.train_compile import cost as cost_lib
from boneage_jax.train_compile import programs
from boneage_jax.training import step as train_step
from configs import guided

ROOT = pathlib.Path(__file__).parents[2]


def resnet18_products(size=64):
  """Products of the stem, and of all layers up to 'stage2' (He et al. 2016)."""
  stem = resnet18.products(size, 3, 64, 7, 2)
  half, quarter = size // 4, size // 8
  return stem, sum(
    (
      stem,
      4 * resnet18.products(half, 64, 64, 3),
      resnet18.products(half, 64, 128, 3, 2),
      resnet18.products(half, 64, 128, 1, 2),  # the shortcut
      3 * resnet18.products(quarter, 128, 128, 3),
      (128 + 32) * 240,  # the head, with 32 features for sex
    )
  )


def test_operations_are_those_of_the_layers(monkeypatch):
  monkeypatch.setattr(ops, 'FORM', 'native')
  films = 2
  cost = programs.compile_stage(
    resnet18.config(), 'localizer', jax.devices(), films
  )
  stem, forward = resnet18_products()
  # Forward, gradient by the maps and by the kernels; none by the film itself.
  expected = 2 * films * (3 * forward - stem)
  assert cost.flops == pytest.approx(expected, rel=0.1)


def test_all_stages_of_a_config(capsys):
  config = tiny_cascade.get_config()
  costs = train_compile.run(config, 'local')
  assert [c.stage for c in costs] == ['localizer', 'regions', 'assessor']
  assert {c.films for c in costs} == {2}  # 8 for 4 devices
  table = capsys.readouterr().out.split('\n|', 1)[1].splitlines()
  assert table[0].split(' | ')[1:] == ['localizer', 'regions', 'assessor |']
  assert len({row.count('|') for row in table[1:]}) == 1
  for cost in (costs[0], costs[2]):
    memory = cost.memory
    # The new state takes the place of the old; the scalars of the log do not.
    assert 0.99 < memory['aliased'] / memory['outputs'] < 1
    assert memory['temporaries'] > 0 and cost.estimate == 0
  assert costs[1].memory['aliased'] == 0
  assert costs[1].collectives == {}  # no film needs another


def test_a_net_that_tells_classes_apart():
  config = guided.get_config('fracture').unlock()
  config.classifier.input.size = 32
  config.classifier.net.backbone.update({'width': 0.0625, 'endpoint': 'stage1'})
  cost = programs.compile_stage(config, 'classifier', jax.devices()[:1], 2)
  assert cost.stage == 'classifier' and cost.flops > 0


def test_gradients_are_reduced_once():
  config = tiny_cascade.get_config()
  cost = programs.compile_stage(config, 'localizer', jax.devices(), 1)
  net = models.create(config.localizer.net, size=32)
  params, stats = train_step.split(net)[1:]
  size = lambda tree: 4 * sum(x.size for x in jax.tree.leaves(tree))
  # BatchNorm sums, too: mean and variance, and two in the backward pass.
  least = size(params)
  assert least < sum(cost.collectives.values()) < least + 4 * size(stats)


@pytest.mark.parametrize('stage', ['localizer', 'regions'])
def test_convolutions_are_of_the_dtype_of_the_config(stage):
  config = tiny_cascade.get_config()
  config.localizer.net.dtype = 'bfloat16'
  lower = programs.JOBS[config[stage].job]
  text = lower(config, stage, 1, jax.devices()).as_text()
  convolutions = re.findall(r'stablehlo.convolution.*->.*x(\w+)>', text)
  assert convolutions and set(convolutions) == {'bf16'}


HLO = """
HloModule jit_step, is_scheduled=true, num_partitions=8

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%wrapped (p: bf16[4,8]) -> bf16[4,8] {
  %p = bf16[4,8]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %reduced = bf16[4,8]{1,0:T(8,128)(2,1)S(1)} all-reduce(%p), to_apply=%add
}

ENTRY %main (a: f32[3,5]) -> f32[3,5] {
  %a = f32[3,5]{1,0:T(8,128)} parameter(0)
  %pair = (f32[3,5]{1,0:T(8,128)S(1)}, s32[7]{0:T(128)}) fusion(%a), calls=%f
  %b = f32[3,5]{1,0:T(8,128)S(1)} get-tuple-element(%pair), index=0
  %c.1 = s32[7]{0:T(128)} get-tuple-element(%pair), index=1
  %both = (f32[3,5]{1,0}, s32[7]{0}) all-reduce(%b, %c.1), to_apply=%add
  %flags = pred[16]{0} constant({...})
  %start = (pred[16]{0}, pred[128]{0}) all-gather-start(%flags), dimensions={0}
  %done = pred[128]{0} all-gather-done(%start)
  %part = f32[1,5]{1,0} reduce-scatter(%a), dimensions={0}, to_apply=%add
  ROOT %out = f32[3,5]{1,0} add(%a, %b), metadata={op_name="all-reduce(%a)"}
}
"""


def test_collectives_of_a_program():
  assert cost_lib.collective_bytes(HLO) == {
    'all-reduce': 4 * 8 * 2 + 15 * 4 + 7 * 4,
    'all-gather': 16,
    'reduce-scatter': 15 * 4,
  }


def cost_of(films, temporaries, **changes):
  fields = {
    'stage': 'a',
    'dtype': 'float32',
    'films': films,
    'seconds': (1.0, 2.0),
    'memory': dict(
      arguments=100, outputs=90, aliased=80, temporaries=temporaries, program=10
    ),
    'flops': 2e9,
    'traffic': 4e6,
    'collectives': {},
    'estimate': 4e-3,
  }
  return cost_lib.Cost(**(fields | changes))


@pytest.mark.parametrize('start', [1, 3, 64, 1024])
@pytest.mark.parametrize('limit', [0, 1, 2, 31, 32, 100])
def test_fit_finds_the_last_that_fits(start, limit):
  tried = []

  def compile_with(films):
    assert films not in tried
    tried.append(films)
    if films > 4 * max(limit, 1):
      raise cost_lib.NoRoom(f'{films} are too many')
    return cost_of(films, 7 * films)  # and 120 bytes that do not grow

  found, why = cost_lib.fit(compile_with, start, 120 + 7 * limit)
  assert found == (2 ** int(math.log2(limit)) if limit else 0)
  assert max(2 * found, 1) in tried and (found in tried or not found)
  assert why


def test_memory_and_roofline_of_a_table():
  cost = cost_of(1, 1000)
  assert cost.total == 100 + 90 - 80 + 1000 + 10
  chip = cost_lib.Chip(flops=1e12, hbm=2240, bandwidth=1e9)
  rows = {
    cells[1].strip(): cells[2].strip()
    for cells in (
      line.split('|') for line in cost_lib.cost_table([cost], chip).splitlines()
    )
  }
  assert rows['share of the HBM'] == '50.0%'
  assert rows['time of the MXU'] == '2.00 ms'
  assert rows['of the HBM'] == rows["XLA's estimate"] == '4.00 ms'
  assert rows['roofline, share of peak'] == rows['its share of peak'] == '50.0%'


# What the user sees when something is wrong.


def test_a_missing_compiler_names_the_remedy(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ValueError, match=r"pip install -e '\.\[tpu\]'"):
    train_compile.find_devices('v5e:2x4')


def test_a_batch_that_cannot_be_shared_out():
  config = tiny_cascade.get_config()
  config.assessor.batch_size = 10
  with pytest.raises(ValueError, match=r'assessor.batch_size=10 .* 4 devices'):
    train_compile.run(config, 'local')


def test_fit_needs_a_known_chip():
  with pytest.raises(ValueError, match='--fit needs the memory of a chip'):
    train_compile.run(tiny_cascade.get_config(), 'local', search=True)


def test_stages_without_a_program():
  config = tiny_cascade.get_config()
  config.stages = ('prepare', 'report')
  with pytest.raises(
    ValueError, match=r'none has a program .* train or locate'
  ):
    train_compile.run(config, 'local')


@pytest.mark.ci
def test_a_mistaken_field_is_one_line():
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'boneage_jax.train_compile.__main__'),
      f'--config={ROOT / "configs" / "cascade.py"}:phantom',
      '--config.localizer.net.dtypes=bfloat16',
    ],
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert done.returncode == 1 and 'Traceback' not in done.stderr
  assert 'has no field \'dtypes\'\nDid you mean "dtype"' in done.stderr


# A compiler that dies.


def dies(config, topology, stage, films, search, quick):
  """In the place of cost_of: of some programs libtpu makes the process die."""
  del config, topology, search
  if stage == 'regions' or (stage == 'localizer') == quick:
    os.kill(os.getpid(), signal.SIGSEGV)
  return [cost_of(films, 1, stage=stage)]


def test_a_dying_compiler_takes_no_other_stage_along(monkeypatch, capsys):
  monkeypatch.setattr(train_compile, 'find_devices', lambda name: jax.devices())
  monkeypatch.setattr(train_compile, 'cost_of', dies)
  with pytest.raises(ValueError, match=r'died on regions, .*batch_per_device'):
    train_compile.run(tiny_cascade.get_config(), 'v6e:2x4', 3, quick=True)
  printed = capsys.readouterr().out
  died = 'the compiler died with 3 films to a device and its'
  assert f'localizer: {died} least effort' in printed
  assert f'localizer: {died} full effort' not in printed
  assert f'regions: {died} full effort' in printed
  assert '|  | localizer | assessor |' in printed


def test_a_device_has_a_film_at_least():
  with pytest.raises(
    ValueError, match=r'batch_per_device of 1 film .*, got -8'
  ):
    train_compile.run(tiny_cascade.get_config(), 'local', -8)


# With the TPU compiler.


def test_unknown_topologies():
  pytest.importorskip('libtpu')
  for name in ('v9:2x2', 'v5e', 'v5e:3x5'):
    with pytest.raises(ValueError, match='such as v5e:2x4'):
      train_compile.find_devices(name)


def test_a_program_for_a_tpu():
  pytest.importorskip('libtpu')
  config = tiny_cascade.get_config()
  config.stages = ('localizer',)
  (cost,) = train_compile.run(config, 'v5e:2x4')
  assert cost.films == 1 and cost.collectives and 0 < cost.estimate < 0.1
  assert cost.total < cost_lib.CHIPS['TPU v5 lite'].hbm


@pytest.mark.filterwarnings('ignore:.* found in sys.modules')
def test_other_processes_find_what_the_command_sends_them(monkeypatch):
  started = []
  monkeypatch.setattr(app, 'run', lambda main, **_: started.append(main))
  runpy.run_module('boneage_jax.train_compile', run_name='__main__')
  assert started == [train_compile.main]
