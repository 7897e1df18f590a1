"""A segmenter of a few outlined phantoms teaches itself the others."""

import csv
import json
import shutil

import cv2
import mined_run
import numpy as np
import pytest

from boneage_jax.core import stages
from boneage_jax.data import film_masks
from boneage_jax.data import selection
from boneage_jax.imaging import codec
from boneage_jax.regions import mine
from boneage_jax.runs import lineage
from boneage_jax.training import validate as training_validate
from boneage_jax.workflow import jobs
from boneage_jax.workflow import validate


@pytest.fixture(scope='module')
def run(mined):
  return mined


def table(folder):
  with open(folder / 'masks.csv', newline='') as file:
    return list(csv.DictReader(file))


def test_rounds_train_on_drawn_and_accepted_masks_alone(run):
  rows = table(run / 'mine/round_1')
  films, _ = selection.split_films(mined_run.tiny(), str(run), 'original')
  train = set(films['id'][films['split'] == 'train'].tolist())
  assert {row['id'] for row in rows} == train  # none that is held out
  states = [row['status'] for row in rows]
  assert states.count('labelled') == 6
  accepted = {row['id'] for row in rows if row['status'] == 'accepted'}
  refused = {
    row['id']: row['reason'] for row in rows if row['status'] == 'refused'
  }
  assert accepted and refused and all(refused.values())
  assert not accepted & set(refused)
  config = mine.with_rounds(mined_run.tiny(), 'mine')
  seen = selection.stage_films(config, 'mine/round_1', str(run))
  trained = set(seen['id'][seen['split'] == 'train'].tolist())
  labelled = {row['id'] for row in rows if row['status'] == 'labelled'}
  assert trained == accepted | labelled
  # Held-out films are judged by what was drawn on them.
  drawn = selection.stage_films(config, 'segmenter', str(run))
  for split in ('validation', 'test'):
    of = lambda films, split=split: set(
      films['id'][films['split'] == split].tolist()
    )
    assert of(seen) == of(drawn)


def test_drawn_masks_are_half_of_the_samples_at_least(run):
  config = mine.with_rounds(mined_run.tiny(), 'mine')
  name = 'mine/round_1'
  films = selection.stage_films(config, name, str(run))
  films = selection.select_split(films, 'train')
  states = {row['id']: row['status'] for row in table(run / name)}
  accepted = [k for k, state in states.items() if state == 'accepted']
  again = selection.repeat_drawn(config, name, str(run), films)
  times = -(-len(accepted) // 6)  # of six drawn masks
  ids, counts = np.unique(again['id'], return_counts=True)
  assert dict(zip(ids.tolist(), counts.tolist(), strict=True)) == {
    film: 1 if film in accepted else times for film in films['id'].tolist()
  }
  config[name].input.drawn_share = 0.0
  again = selection.repeat_drawn(config, name, str(run), films)
  assert again['id'].tolist() == films['id'].tolist()


def test_accepted_masks_are_those_of_the_net(run):
  config = mine.with_rounds(mined_run.tiny(), 'mine')
  films = selection.stage_films(config, 'mine/round_1', str(run))
  source = selection.stage_source(config, 'mine/round_1', str(run), films)
  masks = film_masks.FilmMasks(str(run / 'mine/round_1'))
  records = {source[i]['id']: source[i] for i in range(len(source))}
  assert set(masks) == {film for film in records if film in masks}
  film = next(iter(masks))
  assert records[film]['film_mask'] == masks[film]
  probability = codec.decode_stored(masks[film].data)
  assert probability.shape == (32, 32)
  assert 0.02 < np.mean(probability > 127) < 0.8
  on_film = masks[film].on_film((96, 64))
  assert set(np.unique(on_film)) == {0, 255}
  small = cv2.resize(on_film, (32, 32), interpolation=cv2.INTER_AREA)
  assert np.mean((small > 127) == (probability > 127)) > 0.95


def test_all_films_are_masked_at_the_end(run):
  films, _ = selection.split_films(mined_run.tiny(), str(run), 'original')
  masks = film_masks.FilmMasks(str(run / 'mine'))
  assert set(masks) == set(films['id'].tolist())
  rows = table(run / 'mine')
  refused = [row['id'] for row in rows if row['status'] == 'refused']
  with open(run / 'mine/review/review.csv', newline='') as file:
    listed = list(csv.DictReader(file))
  assert [row['id'] for row in listed] == refused
  for row in listed:
    assert (run / 'mine/review' / row['picture']).stat().st_size > 500
  rounds = json.loads((run / 'mine/rounds.json').read_text())
  assert [row['round'] for row in rounds] == [1, 2]
  assert all(row['segmentation']['test']['all']['films'] for row in rounds)


def test_other_stages_start_from_the_last_net(run):
  config = mined_run.tiny()
  config.again = config.mine.copy_and_resolve_references()
  config.again.init_from.run = ':mine'
  _, name, folder = lineage.parent_run(config, 'again', str(run))
  assert (name, folder) == ('mine', str(run))
  jobs.run_stages(mined_run.tiny(), ['mine'], str(run))  # done: nothing happens


def test_without_rounds_net_and_limits_are_those_of_another_run(run, tmp_path):
  shutil.copytree(run / 'prepare', tmp_path / 'prepare')
  config = mined_run.tiny()
  config.mine.update(rounds=0, steps_per_round=0)
  config.mine.init_from.run = f'{run}:mine'
  mine.mine(config, 'mine', str(tmp_path))
  config.mine.steps_per_round = 7  # without rounds it means nothing
  training_validate.check_stage(config, 'mine', str(tmp_path))
  config.mine.input.polarity = 'invert'
  with pytest.raises(ValueError, match=r'mine: Expected input\.polarity='):
    training_validate.check_stage(config, 'mine', str(tmp_path))
  config.mine.input.polarity = 'keep'
  ours, theirs = tmp_path / 'mine', run / 'mine'
  for name in ('limits.json', 'masks.array_record'):
    assert (ours / name).read_bytes() == (theirs / name).read_bytes()
  reasons = {row['id']: row['reason'] for row in table(ours)}
  for row in table(theirs):  # nothing is drawn on films of this run
    assert reasons[row['id']] == row['reason'] or row['status'] == 'labelled'
  assert json.loads((ours / 'rounds.json').read_text()) == []
  config.mine.init_from.run = f'{run}:segmenter'
  with pytest.raises(ValueError, match=r'limits of masks, found none: without'):
    mine.mine(config, 'mine', str(tmp_path))


@pytest.mark.ci
def test_a_killed_job_goes_on_at_its_round(run, tmp_path):
  shutil.copytree(run, tmp_path / 'run')
  killed = tmp_path / 'run/mine'
  shutil.rmtree(killed / 'round_2')
  shutil.rmtree(killed / 'checkpoints')
  for name in ('done.json', 'masks.csv', 'masks.array_record', 'rounds.json'):
    (killed / name).unlink()
  before = (killed / 'round_1/masks.csv').stat().st_mtime_ns
  mine.mine(mined_run.tiny(), 'mine', str(tmp_path / 'run'))
  assert (killed / 'round_1/masks.csv').stat().st_mtime_ns == before
  for name in ('masks.csv', 'rounds.json', 'round_2/masks.csv'):
    assert (killed / name).read_text() == (run / 'mine' / name).read_text()
  assert (killed / 'masks.array_record').read_bytes() == (
    run / 'mine/masks.array_record'
  ).read_bytes()


def test_corrected_masks_override(tmp_path):
  section = mined_run.tiny().mine
  mask = np.zeros((60, 40), np.uint8)
  mask[15:45, 10:30] = 255
  cv2.imwrite(str(tmp_path / '17.png'), mask)
  (found,) = film_masks.read_corrected(str(tmp_path), section.input).items()
  assert found[0] == '17'
  assert found[1].shape == (32, 32)
  assert np.mean(found[1] > 127) == pytest.approx(0.25, abs=0.02)
  (tmp_path / '18.png').write_bytes(b'no picture')
  with pytest.raises(ValueError, match=r'18\.png, .* got no PNG'):
    film_masks.read_corrected(str(tmp_path), section.input)
  with pytest.raises(ValueError, match='found none'):
    film_masks.read_corrected(str(tmp_path / 'none'), section.input)


def test_corrected_masks_are_of_films_of_the_data(run, tmp_path):
  config = mine.with_rounds(mined_run.tiny(), 'mine')
  config.mine.corrected = str(tmp_path)
  cv2.imwrite(str(tmp_path / '9999.png'), np.full((8, 8), 255, np.uint8))
  with pytest.raises(ValueError, match=r'films of the data set .* got 9999: '):
    mine.judge(config, 'mine', 'mine/round_1', str(run), 'train')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(rounds=-1), r'mine\.rounds of 0 or more, .* got -1 of 4'),
    (dict(steps_per_round=0), r'got 2 of 0: change --config\.mine\.rounds'),
    (dict(init_from=dict(run='')), r'a net to start from, got none'),
    (
      dict(corrected='/none'),
      r'corrected masks <id>\.png in /none, found none',
    ),
  ],
)
def test_settings_it_cannot_mine_with_are_refused(changes, message):
  config = mined_run.tiny()
  stage = stages.Stage(config, 'mine', '')
  mine.check(stage)
  config.mine.update(changes)
  with pytest.raises(ValueError, match=message):
    mine.check(stage)


def test_too_few_outlined_films_are_refused_before_any_stage(run):
  config = mined_run.tiny()
  config.stages = ('mine',)
  config.mine.init_from.run = ''  # the segmenter of `run` is done
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(stages.Stage, 'done', False)
    validate.check_films(config, str(run))
    config.data.validation_fraction = 0.0
    with pytest.raises(
      ValueError, match=r'outlined validation films, got 6 and'
    ):
      validate.check_films(config, str(run))
