"""A finished run on other films: figures, the folder, and films it has seen."""

import csv
import json
import types

import cv2
from encode import encode
import fake_nets
import numpy as np
import pytest

from boneage_jax import evaluate
from boneage_jax.core import config as config_lib
from boneage_jax.data import prepare
from boneage_jax.evaluation import compare
from boneage_jax.evaluation import external
from boneage_jax.inference import loading
from boneage_jax.runs import run as run_lib
from configs import common

SEEN, NEW = 40, 12


def film(seed, first):
  rng = np.random.default_rng(seed)
  image = rng.integers(0, 256, (80, 60), dtype=np.uint8)
  image[0, 0] = first
  return image


def table(folder, rows, name='films.csv', header='file,sex,age_true,group'):
  lines = [header, *(','.join(map(str, row)) for row in rows)]
  (folder / name).write_text('\n'.join(lines) + '\n')
  return str(folder / name)


@pytest.fixture
def place(tmp_path, monkeypatch):
  """A run on 40 films of a table, whose net is a fake; 12 other films."""
  for k in range(SEEN + NEW):
    (tmp_path / f'{k}.png').write_bytes(encode(film(k, k % 100)))
  config = common.base('made_up', '')
  config.data.table = table(
    tmp_path, [(f'{k}.png', 'MF'[k % 2], 60 + k, '') for k in range(SEEN)]
  )
  config.data.test_fraction = 0.3
  stage = common.train_stage(input=common.image_input())
  config.net = stage
  config.report = common.report_stage(stage='net')
  run = tmp_path / 'run'
  prepare.prepare(config, 'prepare', str(run))
  (run / 'config.json').write_text(json.dumps(config_lib.to_json(config)))
  nets = fake_nets.FakeNets()
  nets.checks = fake_nets.FakeChecks(50)
  monkeypatch.setattr(loading, 'load', lambda *args, **kwargs: nets)
  new = [
    (f'{k}.png', 'MF'[k % 2], 150 + (k - SEEN), f'p{k // 2}')
    for k in range(SEEN, SEEN + NEW)
  ]
  return types.SimpleNamespace(
    folder=tmp_path, run=str(run), new=new, nets=nets
  )


def rows(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def test_figures_files_and_a_folder_that_compare_reads(place, capsys):
  data, out = table(place.folder, place.new, 'new.csv'), place.folder / 'out'
  call = [place.run, f'--data={data}', f'--out={out}', '--batch_size=4']
  evaluate.main(['external', *call])
  # The fake says 100, the first pixel and the sex; that of 50 it refuses.
  predicted = {
    k: 100 + k + (1 if k % 2 == 0 else -1) for k in range(SEEN, SEEN + NEW)
  }
  del predicted[50]
  error = np.array([predicted[k] - (150 + k - SEEN) for k in predicted])
  said = capsys.readouterr().out
  assert '1 films were refused and have no age: 50.' in said
  assert '11 films are of 6 groups' in said
  found = json.loads((out / 'external.json').read_text())
  assert found['checked'] and found['refused'] == ['50'] and not found['bad']
  assert found['errors']['mae'] == pytest.approx(np.abs(error).mean())
  assert found['errors']['bias'] == pytest.approx(error.mean())
  assert f'{np.abs(error).mean():.2f}' in said
  table_out = rows(out / 'predictions.csv')
  assert {r['id']: float(r['age_predicted']) for r in table_out} == {
    str(k): value for k, value in predicted.items()
  }
  assert {r['split'] for r in table_out} == {'test'}
  for name in ('scatter', 'bland_altman', 'error_by_age', 'cumulative'):
    assert cv2.imread(str(out / f'{name}.png')) is not None
  place.nets.base = 103  # another net
  other = place.folder / 'other'
  evaluate.main(['external', place.run, f'--data={data}', f'--out={other}'])
  a, b = (run_lib.read_run(str(folder)) for folder in (out, other))
  result = compare.compare(a, b)
  assert result['leaks'] == {'a': 0, 'b': 0}
  test = result['splits']['test']
  assert test['n'] == 11
  assert test['difference'] == pytest.approx(
    np.abs(error).mean() - np.abs(error + 3).mean()
  )
  evaluate.main(['errors', str(out)])
  assert f'{np.abs(error).mean():.2f}' in capsys.readouterr().out


def test_a_command_that_was_stopped_goes_on(place):
  data, out = table(place.folder, place.new, 'new.csv'), place.folder / 'out'
  some = table(place.folder, place.new[:5], 'some.csv')
  external.external(place.run, some, str(out))
  before = len(place.nets.seen)
  external.external(place.run, data, str(out))
  assert (
    len(place.nets.seen) - before == 7 + 4
  )  # of a phantom, by sex; unknown is both
  assert len(rows(out / 'predictions.csv')) == 11


def test_films_that_the_run_has_seen_are_named(place):
  films = run_lib.selection.split_films(
    run_lib.read_config(place.run), place.run, 'original'
  )[0]
  split = dict(zip(films['id'].tolist(), films['split'].tolist(), strict=True))
  trained = next(f for f in split if split[f] == 'train')
  chosen = next(f for f in split if split[f] == 'validation')
  tested = next(f for f in split if split[f] == 'test')
  for name, of in (('other_name.png', trained), ('own_test.png', tested)):
    data = (place.folder / f'{of}.png').read_bytes()
    (place.folder / name).write_bytes(data)
  image = cv2.imread(str(place.folder / f'{chosen}.png'), cv2.IMREAD_GRAYSCALE)
  cv2.imwrite(str(place.folder / 'again.bmp'), image)
  names = ('other_name.png', 'again.bmp', 'own_test.png')
  some = [(name, 'F', 100, '') for name in names]
  data, out = table(place.folder, [*place.new, *some], 'new.csv'), 'out'
  out = place.folder / 'out'
  with pytest.raises(ValueError, match='not seen, got 2 of 15') as error:
    external.external(place.run, data, str(out))
  text = str(error.value)
  assert f'other_name is film {trained} (train) of run, equal bytes' in text
  assert f'again.bmp is film {chosen} (validation) of run, equal at 64' in text
  assert 'own_test' not in text and not out.exists()


def test_a_run_without_its_data_says_that_nothing_was_looked_up(place, capsys):
  done = place.folder / 'run/prepare/done.json'
  done.unlink()
  data, out = table(place.folder, place.new, 'new.csv'), place.folder / 'out'
  result, _ = external.external(place.run, data, str(out))
  assert not result['checked']
  assert 'it may have seen some of these' in capsys.readouterr().err
  assert run_lib.read_run(str(out)).train is None


def test_bad_films_and_wrong_flags_are_said(place, capsys):
  (place.folder / 'words.png').write_bytes(b'no film')
  some = [*place.new, ('words.png', 'F', 90, '')]
  data = table(place.folder, some, 'new.csv', 'file,sex,boneage,group')
  out = str(place.folder / 'out')
  call = ['external', place.run, f'--data={data}', f'--out={out}']
  with pytest.raises(SystemExit, match='got no age_true, only file, sex, bone'):
    evaluate.main(call)
  with pytest.raises(SystemExit, match='Expected --column with one of file'):
    evaluate.main([*call, '--column=age=boneage'])
  evaluate.main([*call, '--column=age_true=boneage'])
  said = capsys.readouterr().out
  assert '1 films cannot be read:\n  words: ' in said
