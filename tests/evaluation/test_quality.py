"""Quality checks of a run: limits, what they find, commands."""

import csv
import json

import numpy as np
import pytest

from boneage_jax import evaluate
from boneage_jax import predict
from boneage_jax.evaluation import non_hands
from boneage_jax.evaluation import quality
from boneage_jax.evaluation import quality_films
from boneage_jax.evaluation import quality_fit
from boneage_jax.inference import loading
from boneage_jax.inference import quality as quality_lib
from boneage_jax.inference import quality_checks
from boneage_jax.runs import run as run_lib

KINDS = tuple(
  kind for kind, planted in quality_fit.FAULTS.items() for _ in planted
)
REFUSE = np.isin(KINDS, quality_lib.REFUSING)


def drawn(count, rows=None):
  """Scores of clean films, and the same of films with a lesser fault."""
  scores = np.random.default_rng(0).normal(size=(count, len(KINDS)))
  return scores, scores[:rows, REFUSE]


def test_limits_let_so_many_clean_films_through():
  count = 4000
  scores, lesser = drawn(count)
  fixed = np.arange(count) < 20
  limits, notes = quality_fit.fit_limits(KINDS, scores, fixed, lesser)
  over = scores > limits
  assert notes == [] and REFUSE.sum() == 8
  for kind in quality_lib.REFUSING:  # 0.25 % each, in equal parts
    of = np.array(KINDS) == kind
    assert over[:, of].sum(0).tolist() == [10 // of.sum()] * of.sum()
  flagged = over[:, ~REFUSE].any(1) | fixed
  flagged &= ~over[:, REFUSE].any(1)
  assert 0.04 * count < flagged.sum() <= 0.05 * count
  assert len(set(over[:, ~REFUSE].sum(0).tolist())) == 1  # equal parts


def test_lesser_faults_raise_the_limits_that_refuse_alone():
  scores, _ = drawn(4000)
  fixed = np.zeros(4000, bool)
  limits, _ = quality_fit.fit_limits(KINDS, scores, fixed, scores[:0, REFUSE])
  lesser = 2 + scores[:, REFUSE]
  higher, _ = quality_fit.fit_limits(KINDS, scores, fixed, lesser)
  assert (higher[REFUSE] > limits[REFUSE] + 1.5).all()
  refused = np.append(scores[:, REFUSE], lesser, axis=0) > higher[REFUSE]
  assert 0.005 < refused.any(1).mean() <= 0.01
  over = (scores > higher)[:, ~REFUSE].any(1)
  assert 0.04 < over.mean() <= 0.05  # of films that are not refused


def test_few_films_give_the_largest_value_and_say_so():
  scores, lesser = drawn(30)
  limits, notes = quality_fit.fit_limits(
    KINDS, scores, np.arange(30) < 3, lesser
  )
  np.testing.assert_array_equal(limits, scores.max(0))
  assert '30 films do not support' in notes[0] and '400 would' in notes[0]
  assert '3 of them flagged' in notes[1] and 'largest' in notes[1]


def test_ridge_is_the_closed_form_of_kinds_that_weigh_alike():
  rng = np.random.default_rng(0)
  parts = [rng.normal(at, 1, (n, 3)) for at, n in ((0, 7), (1, 5), (2, 9))]
  weights, offset = quality_fit._ridge(*parts)
  rows = np.concatenate(parts)
  wanted = np.repeat([0, 1, 0], [7, 5, 9])
  weigh = np.repeat([1, 7 / 5, 7 / 9], [7, 5, 9])
  middle = np.average(wanted, weights=weigh)
  centred = rows - np.average(rows, axis=0, weights=weigh)
  expected = np.linalg.solve(
    centred.T @ (weigh[:, None] * centred) + quality_fit.RIDGE * np.eye(3),
    centred.T @ (weigh * (wanted - middle)),
  )
  np.testing.assert_allclose(weights, expected)
  said = np.average(rows @ weights + offset, weights=weigh)
  assert said == pytest.approx(middle)


def test_counts():
  flags = [('two_hands',), ('mirrored',), (), ('blank', 'two_hands')]
  row = quality.count('two_hands', flags)
  assert (row['refused'], row['checked']) == (0.5, 0.25)
  assert row['found'] == row['named'] == 0.5 and row['n'] == 4
  row = quality.count('mirrored', flags)
  assert (row['found'], row['named']) == (0.75, 0.25)
  row = quality.count('clean', flags)
  assert row['refused'] == 0.5 and row['flag'] == ''
  low, high = row['found_ci95']
  assert low < row['found'] < high


def test_pictures_of_packages_are_no_hands_and_are_drawn_alike_twice():
  pictures = [np.arange(64 * 80, dtype=np.uint8).reshape(64, 80)]
  first, again = (non_hands.draw(pictures, 3) for _ in range(2))
  assert len(first) == 3 and non_hands.draw([], 3) == []
  for one, same in zip(first, again, strict=True):
    np.testing.assert_array_equal(one, same)
    assert min(one.shape) >= 0.6 * 64 - 1


@pytest.mark.ci
def test_a_run_from_its_checks_to_a_refused_film(
  untrained, tmp_path, capsys, monkeypatch
):
  run = tmp_path / 'run'
  (run / 'whole_image').mkdir(parents=True)
  for name in ('config.json', 'prepare', 'whole_image/checkpoints'):
    (run / name).symlink_to(untrained / 'run' / name)
  for name in ('predictions.csv', 'done.json'):
    path = untrained / 'run/whole_image' / name
    if path.exists():
      (run / 'whole_image' / name).write_bytes(path.read_bytes())
  monkeypatch.setattr(quality_fit, 'LEAST', 2)
  with pytest.raises(SystemExit, match='Expected fitted quality checks'):
    evaluate.main(['quality', f'{run}:whole_image'])
  read = run_lib.read_run(f'{run}:whole_image')
  checks, said = quality_fit.fit(read, films=12)
  quality_fit.write(read.folder, checks, said)
  sentence = quality_fit.sentence(said)
  assert 'fitted on 12 training films with planted faults; limits' in sentence
  assert 'from 8 clean validation films and 2 more training films' in sentence
  assert said == json.loads((run / 'whole_image/quality.json').read_text())
  assert said['refused'] == 0 and list(said['checks']) == [
    *quality_fit.FAULTS,
    'unusual',
  ]
  evaluate.main(['quality', f'{run}:whole_image', '--pictures=5'])
  assert 'not_a_hand' in capsys.readouterr().out
  with open(run / 'whole_image/quality_checks.csv', newline='') as file:
    rows = {row['kind']: row for row in csv.DictReader(file)}
  assert float(rows['two_hands']['found']) == 1
  assert float(rows['rotated']['found']) > 0.5
  nets = loading.load(str(run), 'whole_image')
  source = quality_films.Films(read)
  names, films = source.of('test')
  sexes = [one['sex'] for one in source.known(names)]
  pairs = zip(films, sexes, strict=True)
  said = [nets.predict(*pair).quality_flags for pair in pairs]
  clean = json.loads((run / 'whole_image/quality_checks.json').read_text())
  assert clean['rows'][0] == quality.count('clean', said)
  strict = checks._replace(answer_limits={'unusual': 0.0})
  quality_checks.save(read.folder, strict)
  with monkeypatch.context() as patch:
    patch.setattr(quality.faults, 'KINDS', {})
    (row,) = quality.run_checks(read, pictures=0)['rows']
  assert row['refused'] + row['checked'] == 1  # no film is usual enough
  with monkeypatch.context() as patch:  # a fault that leaves one grey alone
    patch.setattr(quality.faults, 'KINDS', {'saturated': None})
    grey = np.full((40, 30), 255, np.uint8)
    patch.setattr(quality.faults, 'plant', lambda *_: grey)
    rows = {row['kind']: row for row in quality.run_checks(read)['rows']}
  assert rows['saturated']['refused'] == rows['saturated']['named'] == 1
  assert {rows[kind]['n'] for kind in ('clean', 'saturated')} == {len(names)}
  quality_checks.save(read.folder, checks)
  film = next((untrained / 'films').glob('*.png'))
  pair = tmp_path / 'pair.png'
  import cv2

  picture = cv2.imread(str(film), cv2.IMREAD_GRAYSCALE)
  cv2.imwrite(str(pair), np.hstack([picture, picture[:, ::-1]]))
  command = [f'--workdir={run}', '--stage=whole_image', '--sex=F', str(pair)]
  with pytest.raises(SystemExit) as stop:
    predict.main([*command, f'--out={tmp_path}/out'])
  assert stop.value.code == 2
  assert 'refused, no age: ' in capsys.readouterr().out
  with open(tmp_path / 'out/predictions.csv', newline='') as file:
    (row,) = csv.DictReader(file)
  assert row['status'] == 'refused' and row['age_predicted'] == ''
  assert 'two_hands' in row['quality_flags'].split()
  with pytest.raises(SystemExit) as stop:
    predict.main([*command, '--force'])
  assert stop.value.code == 0 and 'months' in capsys.readouterr().out
  with pytest.raises(SystemExit):
    predict.main([*command, '--two_hands=both', '--force'])
  _, *lines = capsys.readouterr().out.splitlines()  # what ages rest on
  assert lines[0].startswith(f'{pair}#left: ')
  assert lines[1].startswith(f'{pair}#right: ')
