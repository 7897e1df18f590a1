"""Runs guided by masks: every variant, and what no mask may change."""

import csv
import json

import jax
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_cascade

from boneage_jax import phantom
from boneage_jax.data import selection
from boneage_jax.evaluation import classification as classification_lib
from boneage_jax.runs import metric_writer
from boneage_jax.train_compile import programs
from boneage_jax.training import loop
from boneage_jax.training import restore
from boneage_jax.training import setup
from boneage_jax.training.tasks import classification
from configs import guided
from tfds_rsna import build


def trained(config):
  """The section of the net that a config trains."""
  return config[config.stages[1]]


def tiny(variant='', **changes):
  config = guided.get_config(variant).unlock()
  config.data.update(validation_fraction=0.2, test_fraction=0.2)
  trained(config).net.backbone = ConfigDict(tiny_cascade.BACKBONE)
  trained(config).net.bn_momentum = 0.9
  trained(config).input.update(size=32, builder_config='original')
  trained(config).update(
    batch_size=8, eval_batch_size=8, steps=24, eval_steps=12, log_steps=4
  )
  trained(config).optimizer.update(
    name='adamw', learning_rate=0.01, schedule='constant', warmup=0.0
  )
  trained(config).optimizer.update(boundaries=(), lr_factors=())
  trained(config).guidance.update(changes)
  return config


@pytest.fixture(scope='module')
def broken(tmp_path_factory):
  """Prepared phantoms, most of them with a fracture, two films of a hand."""
  root = tmp_path_factory.mktemp('broken')
  phantom.write_archive(
    str(root / 'archive'), 96, 1, long_side=64, fractures=0.75, views=2,
    workers=1,
  )  # fmt: skip
  return build.build(str(root / 'archive'), str(root / 'data'))


def go(config, folder, workdir):
  """Train; return the stage's folder."""
  (workdir / 'prepare').mkdir(parents=True)
  (workdir / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': folder}})
  )
  loop.train_and_evaluate(config, config.stages[1], str(workdir))
  return workdir / config.stages[1]


def rows_of(folder):
  return metric_writer.read_metrics(str(folder / 'metrics.jsonl'))


@pytest.mark.parametrize('variant', ['', 'thumbnails'])
def test_age_variants_learn(variant, prepared, tmp_path, capsys):
  config = tiny(variant, weight=10.0)  # seen in a few steps
  folder = go(config, prepared, tmp_path)
  rows = rows_of(folder)
  for name in ('train_loss', 'train_guidance'):
    values = [row[name] for row in rows]
    assert min(values[-2:]) < values[0], name
  assert all(row['train_guided_films'] == 1 for row in rows)
  assert (folder / 'predictions.csv').exists()
  result = json.loads((folder / 'attention.json').read_text())
  assert result['mask'] == list(trained(config).guidance.mask)
  for split in ('validation', 'test'):
    row = result['after'][split]
    assert 0 < row['inside'] < 1
    assert ('inside_ci95' in row) == (row['films'] >= 10)
    low, high = row.get('inside_ci95', (0, 1))
    assert low <= row['inside'] <= high
    assert row['inside'] == pytest.approx(
      np.mean(list(row['per_film'].values()))
    )
    assert result['change'][split]['change'] == pytest.approx(
      row['inside'] - result['before'][split]['inside']
    )
  printed = capsys.readouterr().out
  assert 'net: attention guided by' in printed
  assert 'net: attention inside the masks of' in printed


def test_the_fracture_variant_learns_and_reports(broken, tmp_path, capsys):
  config = tiny('fracture', weight=0.1)
  config.data.labelled_per_class = 5
  folder = go(config, broken, tmp_path)
  rows = rows_of(folder)
  assert rows[-1]['train_loss'] < rows[0]['train_loss']
  assert {'train_error', 'train_guidance'} <= rows[0].keys()
  assert [r['step'] for r in rows if 'validation_error' in r] == [12, 24]
  assert '20 training films' in capsys.readouterr().out
  with open(folder / 'predictions.csv', newline='') as file:
    table = list(csv.DictReader(file))
  names = list(config.data.classes)
  assert list(table[0]) == [*classification.COLUMNS, *(f'p_{n}' for n in names)]
  films, _ = selection.split_films(config, str(tmp_path), 'original')
  truth = dict(
    zip(films['id'].tolist(), films['finding'].tolist(), strict=True)
  )
  for row in table:
    p = [float(row[f'p_{name}']) for name in names]
    assert sum(p) == pytest.approx(1, abs=1e-3)
    assert row['predicted'] == names[int(np.argmax(p))]
    assert row['label'] == truth[row['id']]
  kept = {row['study'] for row in table if row['split'] == 'test'}
  assert not kept & {r['study'] for r in table if r['split'] == 'validation'}
  result = json.loads((folder / 'attention.json').read_text())
  count = sum(r['split'] == 'test' and r['label'] != 'none' for r in table)
  assert result['after']['test']['films'] == count

  classification_lib.report(config, 'report', str(tmp_path))
  report = json.loads((tmp_path / 'report' / 'report.json').read_text())
  found = report['splits']['test']
  right = [r['label'] == r['predicted'] for r in table if r['split'] == 'test']
  assert found['accuracy'] == pytest.approx(np.mean(right))
  assert found['studies'] == len(kept)
  printed = capsys.readouterr().out
  assert 'phantoms: 96 films' in printed and 'metacarpal' in printed


def test_without_any_mask_the_run_is_that_of_weight_zero(
  prepared, tmp_path, capsys
):
  """To the last bit."""
  folders = []
  for weight in (0.0, 0.1):
    config = tiny('phantom', weight=weight, mask=('fracture_boxes',))
    trained(config).update(steps=6, eval_steps=3)
    folders.append(go(config, prepared, tmp_path / str(weight)))
  assert 'so not at all: as with guidance.weight=0' in capsys.readouterr().out
  for name in ('metrics.jsonl', 'predictions.csv'):
    first, second = ((folder / name).read_bytes() for folder in folders)
    assert first == second, name
  nets = [
    restore.load_net(config, config.stages[1], str(f.parent))[1]
    for f in folders
  ]
  jax.tree.map(np.testing.assert_array_equal, *nets)
  assert not (folders[0] / 'attention.json').exists()


def test_with_weight_zero_masks_are_measured_and_do_not_guide(
  prepared, tmp_path
):
  config = tiny('phantom', weight=0.0)
  trained(config).update(steps=2, eval_steps=2, log_steps=1)
  folder = go(config, prepared, tmp_path)
  assert 'train_guidance' not in rows_of(folder)[0]
  assert {'before', 'after', 'change'} <= json.loads(
    (folder / 'attention.json').read_text()
  ).keys()


def test_the_localizer_of_the_cascade_can_be_guided(prepared, tmp_path):
  config = tiny_cascade.get_config()
  config.stages = ('prepare', 'localizer')  # the name that `go` trains
  trained(config).guidance.update(weight=1.0, mask=('wrist_box',))
  trained(config).update(steps=2, eval_steps=2, epochs=0)
  folder = go(config, prepared, tmp_path)
  assert all(row['train_guidance'] > 0 for row in rows_of(folder))


def test_unusable_classes(prepared, broken, tmp_path):
  config = tiny('fracture')
  with pytest.raises(ValueError, match='No training film is labelled none or'):
    go(config, prepared, tmp_path / 'a')
  trained(config).net.classes = 3
  with pytest.raises(ValueError, match='classes is 3, but'):
    go(config, broken, tmp_path / 'b')
  config = tiny('phantom')
  config.data.labelled_per_class = 5
  with pytest.raises(ValueError, match=r'name these with --config\.data'):
    go(config, broken, tmp_path / 'c')


@pytest.mark.parametrize('weight', [0.0, 1.0])
def test_train_compile_lowers_what_training_runs(prepared, tmp_path, weight):
  """With guidance, too: masks in the batch, and their part of the loss."""
  config = tiny('phantom', weight=weight, mask=('ossification_boxes',))
  (tmp_path / 'prepare').mkdir()
  (tmp_path / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  run = setup.create(config, 'guided_net', str(tmp_path))
  batch = run.place(run.dataset[0])
  assert ('region_mask' in batch) == bool(weight)
  trained_with = run.update.lower(run.state, batch)
  run.store.close()
  films = run.section.batch_size // len(jax.devices())
  compiled = programs.lower_train(config, 'guided_net', films, jax.devices())
  assert compiled.as_text() == trained_with.as_text()
