"""Which films active learning asks for, trains on, and never touches."""

import csv
import json
import pathlib

import active_run
import cv2
import numpy as np
import pytest

from boneage_jax.core import stages
from boneage_jax.data import film_masks
from boneage_jax.data import selection
from boneage_jax.regions import active
from boneage_jax.regions import committee
from boneage_jax.regions import mine
from boneage_jax.training import loop
from boneage_jax.training import preemption
from boneage_jax.training.tasks import segmentation
from boneage_jax.workflow import jobs


def digits(films):
  """How much the made-up nets differ on films: planted, by id."""
  return np.array([int(film) * 7919 % 1000 for film in films['id'].tolist()])


@pytest.fixture
def nets(monkeypatch):
  """Made-up nets; `scored` has the films that each committee looked at."""
  fake = active_run.FakeNets()
  fake.scored = {}

  def differ(config, members, workdir, films, measure):
    assert measure == 'maps'
    assert all(name in config for name in members)
    fake.scored[members[0]] = set(films['id'].tolist())
    return digits(films) / 1000

  monkeypatch.setattr(loop, 'train_and_evaluate', fake)
  monkeypatch.setattr(committee, 'dissimilarity', differ)
  monkeypatch.setattr(mine, 'mask_all', lambda *_: {'best_step': 1})
  return fake


def table(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def sides(config, workdir):
  """Ids of the films by split."""
  films, _ = selection.split_films(config, workdir, 'original')
  return {s: set(films['id'][films['split'] == s]) for s in set(films['split'])}


def test_the_films_on_which_nets_differ_most_are_labelled(
  nets, prepared, tmp_path
):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  active.learn(config, 'active', run)
  train = sides(config, run)['train']
  first = nets.trained['active/round_1/net_1']
  assert len(first) == 4 and first < train
  assert nets.trained['active/round_1/net_2'] == first
  left = sorted(train - first, key=lambda f: -(int(f) * 7919 % 1000))
  second = nets.trained['active/round_2/net_1']
  assert second == first | set(left[:2])
  third = nets.trained['active/round_3/net_2']
  assert third == first | set(left[:5])
  assert nets.scored == {
    'active/round_1/net_1': train - first,
    'active/round_2/net_1': train - second,
  }
  rows = table(tmp_path / 'run/active/round_3/chosen.csv')
  assert [row['id'] for row in rows] == left[2:5]
  assert float(rows[0]['dissimilarity']) > float(rows[2]['dissimilarity'])


def test_a_random_query_takes_the_next_films_of_one_order(
  nets, prepared, tmp_path
):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  for stage in ('random', 'active'):
    active.learn(config, stage, run)
  of = nets.trained
  assert of['random/round_1/net_1'] == of['active/round_1/net_1']
  assert of['random/round_1/net_1'] < of['random/round_2/net_1']
  assert of['random/round_3/net_1'] != of['active/round_3/net_1']
  assert not any(name.startswith('random') for name in nets.scored)
  config.seed = 1
  rows = active.choose(config, 'random', 1, run)
  assert {row['id'] for row in rows} != of['random/round_1/net_1']


@pytest.mark.parametrize('fold', [None, 0, 2])
def test_films_that_judge_are_never_scored_asked_for_or_trained_on(
  nets, prepared, tmp_path, fold
):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  if fold is not None:
    config.data.update(folds=3, fold=fold)
  active.learn(config, 'active', run)
  split = sides(config, run)
  held_out = split['validation'] | split['test']
  assert split['validation'] and split['test']
  seen = set().union(*nets.trained.values(), *nets.scored.values())
  assert seen == split['train'] and not seen & held_out
  config = active.with_rounds(config, 'active', run)
  films = selection.stage_films(config, 'active/round_2/net_1', run)
  judges = set(films['id'][films['split'] != 'train'].tolist())
  assert judges == held_out


def test_every_net_of_every_round_has_a_seed_of_its_own(
  nets, prepared, tmp_path
):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  active.learn(config, 'active', run)
  expanded = active.with_rounds(config, 'active', run)
  seeds = [expanded[name].seed for name in nets.trained]
  assert len(set(seeds)) == len(seeds) == 6


def test_a_killed_job_goes_on_at_its_net(nets, prepared, tmp_path):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  nets.killed_at = 'active/round_2/net_2'
  with pytest.raises(KeyboardInterrupt):
    active.learn(config, 'active', run)
  before = dict(nets.trained)
  assert list(before)[-1] == 'active/round_2/net_1'
  chosen = tmp_path / 'run/active/round_2/chosen.csv'
  stamp = chosen.stat().st_mtime_ns
  nets.killed_at, nets.trained = '', {}
  active.learn(config, 'active', run)
  assert not set(nets.trained) & set(before)  # none is trained again
  assert chosen.stat().st_mtime_ns == stamp
  nets.trained = {}
  jobs.run_stages(config, ['active'], run)  # done: nothing happens
  assert not nets.trained


def test_the_curve_has_the_mean_of_the_nets(nets, prepared, tmp_path):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  active.learn(config, 'active', run)
  curve = json.loads((tmp_path / 'run/active/curve.json').read_text())
  assert curve['query'] == 'dissimilar'
  split = sides(config, run)
  found = {(r['labelled'], r['split']): r for r in curve['rounds']}
  judges = ('validation', 'test')
  assert set(found) == {(n, s) for n in (4, 6, 9) for s in judges}
  for (count, name), row in found.items():
    assert row['films'] == len(split[name])
    assert row['dice'] == pytest.approx(0.5 + count / 100)
  rows = table(tmp_path / 'run/active/curve.csv')
  assert [row['labelled'] for row in rows] == ['4', '4', '6', '6', '9', '9']


def test_dice_compares_with_the_drawn_mask_not_with_the_net_itself():
  found = np.zeros((1, 8, 8), bool)
  drawn, known = found.copy(), np.ones_like(found)
  found[:, 2:6, :4], drawn[:, 2:6, 2:] = True, True  # 16 and 24, 8 in common
  bits = lambda x: np.packbits(x, axis=-1)
  outputs = {'found': found, 'known': known, 'inside': drawn}
  figures = segmentation.overlaps({k: bits(v) for k, v in outputs.items()})
  assert figures['dice'] == pytest.approx(2 * 8 / 40)


@pytest.fixture
def few_drawn(monkeypatch):
  """The archive has masks of two training films, and of all that judge."""
  whole = selection.split_films

  def split_films(*args):
    films, text = whole(*args)
    bare = np.flatnonzero(films['split'] == 'train')[2:]
    films['marks'] = films['marks'].copy()
    films['marks'][bare] = ''
    return films, text

  monkeypatch.setattr(selection, 'split_films', split_films)


def test_a_person_is_asked_and_the_same_command_goes_on(
  nets, few_drawn, prepared, tmp_path
):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  config.active.oracle = 'person'
  query = tmp_path / 'run/active/query'
  with pytest.raises(preemption.Preempted, match='2 films wait for') as asked:
    active.learn(config, 'active', run)
  assert str(query / 'masks') in str(asked.value) and not nets.trained
  rows = table(query / 'query.csv')
  assert len(rows) == 2  # the other two of the four are drawn already
  films = {row['id']: cv2.imread(str(query / row['film']), 0) for row in rows}
  first, second = films
  draw = lambda film: cv2.imwrite(
    str(query / 'masks' / f'{film}.png'), disc(films[film].shape)
  )
  draw(first)
  with pytest.raises(
    preemption.Preempted, match=f'1 films .* {second}\\. Open'
  ):
    active.learn(config, 'active', run)
  assert [row['id'] for row in table(query / 'query.csv')] == [second]
  draw(second)
  with pytest.raises(preemption.Preempted, match='2 films wait for'):
    active.learn(config, 'active', run)  # those of the second round
  assert {first, second} < nets.trained['active/round_1/net_1']
  masks = film_masks.FilmMasks(str(tmp_path / 'run/active/round_1'))
  assert set(masks) == {first, second}
  shape = films[first].shape
  both = masks[first].on_film(shape) > 127
  assert np.mean(both == (disc(shape) > 127)) > 0.98
  expanded = active.with_rounds(config, 'active', run)
  assert expanded['active/round_1/net_1'].input.masks_from == 'active/round_1'
  cv2.imwrite(str(query / 'masks/0.png'), disc(shape))
  with pytest.raises(ValueError, match=r'films that were asked for .* got 0: '):
    active.learn(config, 'active', run)


def disc(shape):
  """A mask of a film, uint8."""
  y, x = np.mgrid[: shape[0], : shape[1]]
  inside = np.hypot(y - shape[0] / 2, x - shape[1] / 2) < min(shape) / 3
  return np.where(inside, 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(rounds=()), r'active\.rounds to be growing numbers .* got \(\)'),
    (dict(rounds=(8, 8)), r'growing numbers .* got \(8, 8\): change'),
    (dict(rounds=(2, 8)), r'the first of 4 or more, a batch, got \(2, 8\)'),
    (dict(committee=1), r'active\.committee of 2 nets or more, got 1'),
    (dict(query='best'), r"active\.query to be one of dissimilar, .* 'best'"),
    (dict(oracle='net'), r'active\.oracle to be one of annotations, person'),
    (dict(dissimilarity='x'), r'active\.dissimilarity to be one of maps'),
    (dict(corrected='/none'), r'corrected masks .* in /none, found none'),
    (dict(task='age'), r"active\.task='segmentation', got 'age'"),
  ],
)
def test_settings_it_cannot_use_are_refused(changes, message):
  config = active_run.tiny()
  stage = stages.Stage(config, 'active', '')
  active.check(stage)
  config.active.update(changes)
  with pytest.raises(ValueError, match=message):
    active.check(stage)


def test_too_few_films_are_refused_before_the_first_round(prepared, tmp_path):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  active.check_films(config, 'active', run)
  config.active.rounds = (4, 400)
  with pytest.raises(ValueError, match=r'400 outlined training films .* lower'):
    active.check_films(config, 'active', run)
  config.active.update(rounds=(4,), oracle='person')
  config.data.update(folds=2, fold=0)
  with pytest.raises(ValueError, match=r'one split for active\.oracle=person'):
    active.check(stages.Stage(config, 'active', run))


@pytest.mark.ci
def test_real_nets_learn_from_the_films_they_asked_for(prepared, tmp_path):
  config, run = active_run.tiny(), active_run.begin(tmp_path / 'run', prepared)
  config.active.update(rounds=(4, 6), steps=40, eval_steps=40)
  config.active.accept.update(mirror_iou=0.1, component=0.1)
  for measure in ('maps', 'features'):
    config.active.dissimilarity = measure
    active.learn(config, 'active', run)
    folder = pathlib.Path(run) / 'active'
    masks = film_masks.FilmMasks(str(folder))
    assert set(masks) == set().union(*sides(config, run).values())
    states = [row['status'] for row in table(folder / 'masks.csv')]
    # All films that are held out are outlined, too, and judge.
    held_out = [len(sides(config, run)[s]) for s in ('validation', 'test')]
    assert states.count('labelled') == 6 + sum(held_out)
    (row, _) = table(folder / 'round_2/chosen.csv')
    assert 0 < float(row['dissimilarity']) <= 1
    folder.rename(folder.with_name(measure))
