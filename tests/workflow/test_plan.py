"""What a run would do, and whether it has room, before anything is written."""

import importlib
import json
import pathlib
import shutil
import time

import cv2
import fake_jobs
import jax
import numpy as np
import pytest
import tiny_cascade

from boneage_jax.core import config as config_lib
from boneage_jax.core import stages
from boneage_jax.data import prepare
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.training import footprint
from boneage_jax.workflow import capacity
from boneage_jax.workflow import few_films
from boneage_jax.workflow import plan
from boneage_jax.workflow import run as workflow_run
from configs import hand_geometry

ROOT = pathlib.Path(__file__).parents[2]


def shown(config, workdir, capsys):
  """Cells of the plan by stage, and all that was printed."""
  plan.show(config, str(workdir))
  text = capsys.readouterr().out
  rows = [line.split() for line in text.splitlines()]
  return {row[0]: row[1:] for row in rows if row[0] in config.stages}, text


def test_plan_of_an_archive(archive, tmp_path, capsys):
  config = tiny_cascade.get_config()
  config.manual_dir = archive
  workdir = tmp_path / 'run'
  rows, text = shown(config, workdir, capsys)
  assert not workdir.exists()
  count = int(rows['localizer'][1])
  assert f'films: hash split of 48 films by id: {count} train, ' in text
  # 4 epochs of batches of 8; a bare line is of a stage that trains no net.
  assert rows['localizer'][2:4] == [str(count // 8 * 4), '8']
  assert rows['regions'] == ['locate', '48'] and rows['report'] == ['report']
  assert len(rows['assessor']) == len(plan.HEAD) - 1


def test_plan_equals_that_of_the_prepared_films(archive, prepared, tmp_path):
  config = tiny_cascade.get_config()
  config.manual_dir = archive
  before, _ = plan.known_films(config, str(tmp_path))
  after = sources.load_films(prepared)
  order = np.argsort(before['id']), np.argsort(after['id'])
  for name in before:
    one, other = before[name][order[0]], after[name][order[1]]
    np.testing.assert_array_equal(one, other, err_msg=name)


def test_plan_without_films_says_what_is_missing(tmp_path, capsys):
  config = tiny_cascade.get_config()
  config.phantom.films = 0
  rows, text = shown(config, tmp_path, capsys)
  assert 'not known before there are films (--config.data.table' in text
  assert rows['localizer'][:2] == ['train', '8']  # no films, no steps


def test_slices_of_a_batch_need_less_memory(tmp_path):
  config = tiny_cascade.get_config()
  whole = capacity.step_memory(config, 'localizer')
  film = footprint.measure(config, 'localizer').film
  films = config.localizer.batch_size // jax.device_count()
  config.localizer.accumulate = 2
  assert whole - capacity.step_memory(config, 'localizer') == films // 2 * film


def test_plan_of_a_table(tmp_path, capsys):
  lines = ['file,sex,age_true,group']
  for k in range(24):
    path = tmp_path / f'{k}.png'
    cv2.imwrite(str(path), np.arange(1024, dtype=np.uint8).reshape(32, 32))
    lines.append(f'{path.name},{"MF"[k % 2]},{k % 20 + 1},{k // 2}')
  (tmp_path / 'films.csv').write_text('\n'.join(lines) + '\n')
  config = tiny_cascade.get_config()
  config.data.table = str(tmp_path / 'films.csv')
  config.localizer.input.sex = 'F'
  config.data.test_fraction = 1e-6
  rows, text = shown(config, tmp_path / 'run', capsys)
  assert rows['prepare'] == ['prepare', '24']
  assert int(rows['localizer'][1]) < int(rows['assessor'][1]) < 24
  doubts = ['ages from 1 to 20 are read as months, but none of 24 is 25 or']
  doubts += [
    'no film is for test: raise --config.data.test_fraction (now 1e-06)'
  ]
  doubts += ['24 films are of 12 groups, too few to be split by chance']
  # What the plan says, the run says, too, and splits its films alike.
  prepare.prepare(config, 'prepare', str(tmp_path / 'whole'))
  split = text.partition('films: ')[2].partition('\n')[0]
  assert split.startswith('hash split of 24 films by group: ')
  after = capsys.readouterr().out
  assert all(each in text and each in after for each in [split, *doubts])
  # A table's own split is no chance, however few its groups.
  names = ['train', 'validation', 'test']
  own = [f'{x},{names[k // 8]}' for k, x in enumerate(lines[1:])]
  own = [f'{lines[0]},split', *own]
  (tmp_path / 'own.csv').write_text('\n'.join(own) + '\n')
  config.data.table = str(tmp_path / 'own.csv')
  text = shown(config, tmp_path / 'run', capsys)[1]
  assert 'official split of 24 films' in text and 'by chance' not in text
  config.data.table = str(tmp_path / 'films.csv')
  config.data.test_fraction = 0.0  # as a user wants it
  assert 'no film is for' not in shown(config, tmp_path / 'run', capsys)[1]
  few = few_films.prepare(config, str(tmp_path / 'few'), 8)
  films, _ = selection.split_films(few, str(tmp_path / 'few'), 'original')
  assert len(films['id']) == 8
  for film, study in zip(films['id'], films['study'], strict=True):
    assert study == str(int(film) // 2)


def test_plan_of_folds_and_finished_stages(prepared, tmp_path, capsys):
  config = tiny_cascade.get_config()
  config.data.update(folds=3)
  for name in ('prepare', 'localizer'):
    (tmp_path / name).mkdir()
    done = {'folders': {'original': prepared}}
    (tmp_path / name / 'done.json').write_text(json.dumps(done))
  rows, text = shown(config, tmp_path, capsys)
  assert rows['localizer'] == ['train', 'done']
  assert 'Each of 3 folds trains all of these nets.' in text


def test_a_full_disk_is_said_before_the_first_stage(
  monkeypatch, prepared, tmp_path
):
  ran = fake_jobs.replace(monkeypatch, prepared)
  config = tiny_cascade.get_config()
  needed = capacity.checkpoint_bytes(config, str(tmp_path))
  usage = lambda free: lambda folder: shutil._ntuple_diskusage(0, 0, free)
  monkeypatch.setattr(shutil, 'disk_usage', usage(needed - 1))
  with pytest.raises(ValueError, match=r'room for checkpoints of .* GiB in'):
    workflow_run.run(config, str(tmp_path / 'run'))
  assert not ran and not (tmp_path / 'run').exists()
  monkeypatch.setattr(shutil, 'disk_usage', usage(needed))
  workflow_run.run(config, str(tmp_path / 'run'))
  assert ran


def test_a_small_device_is_said(monkeypatch, tmp_path, capsys):
  config = tiny_cascade.get_config()
  needed = capacity.step_memory(config, 'assessor')
  monkeypatch.setattr(capacity, 'device_memory', lambda: needed - 1)
  capacity.check(config, str(tmp_path))
  text = capsys.readouterr().out
  assert 'warning: assessor: a step of 8 films needs about' in text
  assert '--config.assessor.batch_size' in text
  monkeypatch.setattr(capacity, 'device_memory', lambda: 0)  # not known
  capacity.check(config, str(tmp_path))
  assert not capsys.readouterr().out


def test_a_slow_dtype_is_said(monkeypatch, tmp_path, capsys):
  config = tiny_cascade.get_config()
  config.assessor.net.dtype = 'bfloat16'
  slow = 'assessor: bfloat16 is slower than float32 on a CPU'
  for backend, lines in (('cpu', 1), ('gpu', 0)):
    monkeypatch.setattr(jax, 'default_backend', lambda b=backend: b)
    capacity.check(config, str(tmp_path))
    text = capsys.readouterr().out
    assert text.count(slow) == text.count('bfloat16 is') == lines


def spellings():
  """Every shipped config with every preset, and without one."""
  for path in sorted((ROOT / 'configs').glob('*.py')):
    module = importlib.import_module(f'configs.{path.stem}')
    if hasattr(module, 'get_config'):
      for preset in ('', *module.PRESETS):
        yield path.stem, preset


@pytest.mark.ci
def test_every_config_has_a_plan(tmp_path, capsys):
  """In one process, as nets are traced once."""
  geometry = hand_geometry.get_config('thumbnails')
  for name in stages.sections(geometry):
    (tmp_path / 'geometry' / name / 'checkpoints').mkdir(parents=True)
  path = tmp_path / 'geometry' / 'config.json'
  path.write_text(json.dumps(config_lib.to_json(geometry)))
  began, problems, count = time.monotonic(), [], 0
  for name, variant in spellings():
    config = importlib.import_module(f'configs.{name}').get_config(variant)
    if 'geometry_run' in config:
      config.geometry_run = str(tmp_path / 'geometry')
    if 'allow_random_features' in config:
      config.allow_random_features = True
    try:
      rows, _ = shown(config, tmp_path / 'run', capsys)
      count += 1
      if set(rows) != set(config.stages):
        problems.append(f'{name}:{variant}: {sorted(rows)}')
    except ValueError as error:
      problems.append(f'{name}:{variant}: {error}')
  assert not problems, '\n'.join(problems)
  assert count >= 50
  print(f'{count} configs in {time.monotonic() - began:.0f} s')
