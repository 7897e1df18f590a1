"""Curves of made-up runs, film by film."""

import json

import active_run
import numpy as np
import pytest

from boneage_jax.core import config as config_lib
from boneage_jax.evaluation import learning_curve
from boneage_jax.regions import active
from boneage_jax.regions import curve

FILMS = np.array([str(n) for n in range(1, 25)])


def films(split='test'):
  return {'id': FILMS, 'split': np.full(len(FILMS), split)}


def dice(stage, number, position, seed, film):
  """Made up: of a film's own, and the query is worth more in later rounds."""
  gain = 0.01 * number * (stage == 'active') * (1 + int(film) % 2)
  return 0.8 + gain + 0.001 * seed + 0.002 * position + 0.003 * (int(film) % 5)


def make(folder, seed, folds=0):
  config = active_run.tiny()
  config.data.folds = folds
  for fold in range(folds or 1):
    run = folder / f'fold_{fold}' if folds else folder
    mine = films('validation' if folds else 'test')
    mine = {k: v[fold :: folds or 1] for k, v in mine.items()}
    for stage in ('active', 'random'):
      for number in (1, 2, 3):
        for k, member in enumerate(active.members(config, stage, number)):
          for_each = [dice(stage, number, k, seed, f) for f in mine['id']]
          write(run / member, mine, for_each)
      (run / stage / 'done.json').write_text('{}')
  (folder / 'config.json').write_text(json.dumps(config_lib.to_json(config)))
  return str(folder)


def write(folder, table, values):
  folder.mkdir(parents=True)
  rows = zip(table['id'], table['split'], values, strict=True)
  lines = [f'{film},{split},{value},0.5' for film, split, value in rows]
  text = '\n'.join(['id,split,dice,jaccard', *lines])
  (folder / 'predictions.csv').write_text(text + '\n')


def test_films_that_are_not_judged_are_left_out(tmp_path):
  table = {name: values[:3] for name, values in films().items()}
  write(tmp_path / 'net', table, [0.5, '', 0.75])
  assert curve.read(['net'], str(tmp_path), 'test') == {'1': 0.5, '3': 0.75}


@pytest.mark.parametrize('folds', [0, 3])
def test_seeds_and_nets_are_averaged_and_films_paired(tmp_path, capsys, folds):
  runs = [make(tmp_path / f'{seed}', seed, folds) for seed in (0, 1, 2)]
  out = tmp_path / 'curve.json'
  learning_curve.main([*runs, f'--out={out}'])
  rows = json.loads(out.read_text())
  assert [row['labelled'] for row in rows] == [4, 6, 9]
  for number, row in enumerate(rows, 1):
    assert row['films'] == len(FILMS)
    # Half of the films are odd: 2 and 1 times 0.01 a round.
    assert row['difference'] == pytest.approx(0.015 * number)
    low, high = row['difference_ci95']
    assert 0.01 * number <= low < row['difference'] < high <= 0.02 * number
    own = np.mean([0.003 * (int(film) % 5) for film in FILMS])
    assert row['dice_b'] == pytest.approx(0.8 + 0.001 + 0.001 + own)
  printed = capsys.readouterr().out
  assert 'A active, B random; 3 runs' in printed and '+0.0450' in printed


def test_what_is_no_curve_is_refused(tmp_path, capsys):
  run = make(tmp_path / 'run', 0)
  with pytest.raises(SystemExit, match=r"job 'active', got 'prepare': change"):
    learning_curve.main([run, '--against=prepare'])
  (tmp_path / 'run/random/done.json').unlink()
  with pytest.raises(SystemExit, match=r'random of .* to be finished'):
    learning_curve.main([run])
  one = {4: {'1': 0.5}}
  with pytest.raises(ValueError, match='differ in their seed alone'):
    learning_curve.mean([one, {4: {'2': 0.5}}])
