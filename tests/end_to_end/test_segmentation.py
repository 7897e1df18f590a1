"""A U-Net of a few channels that outlines the hands of small phantoms."""

import csv
import json

import jax
from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.core import stages
from boneage_jax.data import selection
from boneage_jax.runs import metric_writer
from boneage_jax.train_compile import programs
from boneage_jax.training import loop
from boneage_jax.training import validate
from boneage_jax.training.tasks import segmentation
from configs import hand_geometry


def tiny():
  config = hand_geometry.get_config('phantom').unlock()
  config.data.update(validation_fraction=0.2, test_fraction=0.25)
  config.segmenter.update(
    batch_size=8, eval_batch_size=8, steps=24, eval_steps=12, log_steps=4
  )
  config.segmenter.net.width = 0.03125
  config.segmenter.input.size = 32
  config.segmenter.optimizer.update(
    learning_rate=1e-2, schedule='constant', warmup=0.0
  )
  return config


def test_it_learns_and_judges_films_one_by_one(prepared, tmp_path, capsys):
  config = tiny()
  (tmp_path / 'prepare').mkdir()
  (tmp_path / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  validate.check_stage(config, 'segmenter', str(tmp_path))
  loop.train_and_evaluate(config, 'segmenter', str(tmp_path))
  folder = tmp_path / 'segmenter'
  rows = metric_writer.read_metrics(str(folder / 'metrics.jsonl'))
  errors = [
    row['validation_dice_error']
    for row in rows
    if 'validation_dice_error' in row
  ]
  assert len(errors) == 2 and errors[1] < errors[0]
  assert rows[-1]['train_loss'] < rows[0]['train_loss']
  with open(folder / 'predictions.csv', newline='') as file:
    table = list(csv.DictReader(file))
  assert tuple(table[0]) == segmentation.COLUMNS
  films = selection.stage_films(config, 'segmenter', str(tmp_path))
  held_out = films['split'] != 'train'
  assert {r['id'] for r in table} == set(films['id'][held_out].tolist())
  result = json.loads((folder / stages.SEGMENTATION).read_text())
  printed = capsys.readouterr().out
  for split in ('validation', 'test'):
    of_split = [row for row in table if row['split'] == split]
    dice = [float(row['dice']) for row in of_split]
    jaccard = [float(row['jaccard']) for row in of_split]
    row = result[split]['all']
    assert row['films'] == len(dice)
    assert row['dice'] == pytest.approx(np.mean(dice), abs=1e-5)
    np.testing.assert_allclose(jaccard, [d / (2 - d) for d in dice], atol=2e-5)
    assert segmentation.line('segmenter', split, row) in printed
  assert 1 - result['validation']['all']['dice'] == pytest.approx(
    min(errors), abs=1e-6
  )
  areas = np.array([float(row['area_true']) for row in table])
  assert (areas > 0.05).all() and (areas < 0.7).all()


def test_its_step_can_be_lowered_from_shapes():
  lowered = programs.lower_train(tiny(), 'segmenter', 8, jax.devices()[:1])
  _, batch = lowered.in_avals[0]
  mask = batch['region_mask']
  assert (mask.shape, mask.dtype) == ((8, 32, 32), np.uint8)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      dict(task='age'),
      r'segmenter\.net\.output to be bins, scalar, .* got None of unet',
    ),
    (dict(input=dict(size=100)), r'segmenter: Expected an input\.size of mult'),
    (dict(loss=dict(name='mae')), r'loss.* needs `age` in the outputs'),
  ],
)
def test_what_does_not_fit_is_refused(changes, message, tmp_path):
  config = tiny()
  if 'loss' in changes:
    config.segmenter.loss = ConfigDict(changes['loss'])
  else:
    config.segmenter.update(changes)
  with pytest.raises(ValueError, match=message):
    validate.check_stage(config, 'segmenter', str(tmp_path))
