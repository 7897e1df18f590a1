"""A finished run on other films: figures, the folder, and films it has seen."""

import csv
import json
import shutil
import types

import cv2
from encode import encode
import fake_nets
import numpy as np
import pytest

from boneage_jax import evaluate
from boneage_jax.core import config as config_lib
from boneage_jax.data import prepare
from boneage_jax.data import selection
from boneage_jax.evaluation import compare
from boneage_jax.evaluation import external
from boneage_jax.evaluation import external_views
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import seen_films
from boneage_jax.inference import loading
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib
from configs import common
from configs import system

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


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A folder of 52 films, with a run on the first 40 of them."""
  folder = tmp_path_factory.mktemp('external')
  for k in range(SEEN + NEW):
    (folder / f'{k}.png').write_bytes(encode(film(k, k % 100)))
  config = system.base('made_up', '')
  config.data.table = table(
    folder, [(f'{k}.png', 'MF'[k % 2], 60 + k, '') for k in range(SEEN)]
  )
  config.data_dir = str(folder / 'data')
  config.data.test_fraction = 0.3
  config.net = common.train_stage(input=common.image_input())
  config.report = common.report_stage(stage='net')
  prepare.prepare(config, 'prepare', str(folder / 'run'))
  content = json.dumps(config_lib.to_json(config))
  (folder / 'run/config.json').write_text(content)
  return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
  """The run, whose net is a fake, and rows of 12 other films; no plots."""
  shutil.copytree(made / 'run', tmp_path / 'run')
  nets = fake_nets.FakeNets()
  nets.checks = fake_nets.FakeChecks(50)
  monkeypatch.setattr(loading, 'load', lambda *args, **kwargs: nets)
  monkeypatch.setattr(plot_style, 'png', lambda draw: b'')
  new = [
    (f'{k}.png', 'MF'[k % 2], 150 + (k - SEEN), f'p{k // 2}')
    for k in range(SEEN, SEEN + NEW)
  ]
  run = str(tmp_path / 'run')
  return types.SimpleNamespace(
    films=made, folder=tmp_path, run=run, new=new, nets=nets
  )


def rows(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def test_figures_files_and_a_folder_that_compare_reads(place, capsys):
  data, out = table(place.films, place.new, 'new.csv'), place.folder / 'out'
  call = [place.run, f'--data={data}', f'--out={out}', '--batch_size=4']
  evaluate.main(['external', *call])
  # The fake says 100, the first pixel and the sex; that of 50 it refuses.
  predicted = {
    k: 100 + k + (1 if k % 2 == 0 else -1) for k in range(SEEN, SEEN + NEW)
  }
  del predicted[50]
  error = np.array([predicted[k] - (150 + k - SEEN) for k in predicted])
  said = capsys.readouterr().out
  assert '1 of 12 films were refused and have no age: 50.' in said
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
  plots = ('scatter', 'bland_altman', 'error_by_age', 'cumulative')
  assert all((out / f'{name}.png').exists() for name in plots)
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
  data, out = table(place.films, place.new, 'new.csv'), place.folder / 'out'
  external.external(place.run, data, str(out))
  path, before = out / 'films/predictions.csv', len(place.nets.seen)
  whole = (out / 'predictions.csv').read_text()
  path.write_text(''.join(path.read_text().splitlines(keepends=True)[:6]))
  (out / 'predictions.csv').unlink()
  external.external(place.run, data, str(out))
  assert len(place.nets.seen) - before == 7 + 4  # of a phantom, by sex
  assert (out / 'predictions.csv').read_text() == whole
  other = [(f, sex, age + 1, group) for f, sex, age, group in place.new]
  data = table(place.films, other, 'new.csv')
  with pytest.raises(ValueError, match=r'other nets or settings \(data'):
    external.external(place.run, data, str(out))


def test_films_of_the_run_that_a_net_goes_on_from_are_seen(place):
  config = run_lib.read_config(place.run)
  films = [(f'{k}.png', 'F', 90, '') for k in range(SEEN, SEEN + 8)]
  config.data.table = table(place.films, films, 'own.csv')
  config.data_dir = str(place.folder / 'data')
  config.net.init_from.run = f'{place.run}:net'
  run = place.folder / 'next'
  prepare.prepare(config, 'prepare', str(run))
  (run / 'config.json').write_text(json.dumps(config_lib.to_json(config)))
  first = next(
    film
    for film in lineage.prepared(config, place.run)[1]  # trained the first run
  )
  rest = [(f'{k}.png', 'M', 90, '') for k in range(SEEN + 8, SEEN + NEW)]
  some = [*rest, (f'{first}.png', 'M', 90, '')]
  data, out = table(place.films, some, 'new.csv'), str(place.folder / 'out')
  with pytest.raises(
    ValueError, match=f'{first} is film {first} .train. of run'
  ):
    external.external(str(run), data, out)
  (place.folder / 'run').rename(place.folder / 'gone')
  data = table(place.films, rest, 'new.csv')
  result, _ = external.external(str(run), data, out)
  assert not result['checked']


def test_films_of_a_net_that_finds_regions_are_seen(place):
  config = run_lib.read_config(place.run)
  config.localizer = common.train_stage(input=common.image_input())
  config.localizer.init_from.run = f'{place.run}:net'
  config.regions = dict(job='locate', localizer='localizer')
  config.net.input.crops_from = 'regions'
  folder = str(place.folder / 'other')
  found = lineage.origins(config, 'net', folder, gone := set())
  nets = [(name, of) for _, name, of in found]
  assert nets == [('net', folder), ('net', place.run)] and not gone


def test_films_of_the_run_are_known_where_another_net_is_gone(place, capsys):
  config = run_lib.read_config(place.run)
  config.localizer = common.train_stage(input=common.image_input())
  config.localizer.init_from.run = f'{place.folder}/gone:net'
  config.regions = dict(job='locate', localizer='localizer')
  config.net.input.crops_from = 'regions'
  found, gone = seen_films.of_run(config, 'net', place.run)
  assert set(found) == set(
    seen_films.of_run(run_lib.read_config(place.run), 'net', place.run)[0]
  )
  assert len(gone) == 1 and "init_from.run='" in gone[0] and '/gone' in gone[0]


@pytest.mark.parametrize('inside', ['', 'prepare', 'ensemble'])
def test_the_folder_of_a_run_is_no_place_for_results(place, inside):
  (place.folder / 'run/ensemble').mkdir()
  (place.folder / 'run/ensemble/ensemble.json').write_text('{}')
  data = table(place.films, place.new, 'new.csv')
  with pytest.raises(ValueError, match='which is of a run: choose another'):
    external.external(place.run, data, f'{place.run}/{inside}')


def test_films_that_the_run_has_seen_are_named(place):
  config = run_lib.read_config(place.run)
  films, _ = selection.split_films(config, place.run, 'original')
  split = dict(zip(films['id'].tolist(), films['split'].tolist(), strict=True))
  trained = next(f for f in split if split[f] == 'train')
  chosen = next(f for f in split if split[f] == 'validation')
  tested = next(f for f in split if split[f] == 'test')
  for name, of in (('other_name.png', trained), ('own_test.png', tested)):
    data = (place.films / f'{of}.png').read_bytes()
    (place.films / name).write_bytes(data)
  image = cv2.imread(str(place.films / f'{chosen}.png'), cv2.IMREAD_GRAYSCALE)
  cv2.imwrite(str(place.films / 'again.bmp'), image)
  names = ('other_name.png', 'again.bmp', 'own_test.png')
  some = [(name, 'F', 100, '') for name in names]
  data, out = table(place.films, [*place.new, *some], 'new.csv'), 'out'
  out = place.folder / 'out'
  with pytest.raises(ValueError, match='not seen, got 2 of 15') as error:
    external.external(place.run, data, str(out))
  text = str(error.value)
  assert f'other_name is film {trained} (train) of run, equal bytes' in text
  assert f'again is film {chosen} (validation) of run, equal at 64' in text
  assert 'own_test' not in text and not out.exists()
  assert text.endswith('Give --leave_out_seen to test on the 13 left.')


def test_films_that_the_run_has_seen_are_left_out_on_demand(place, capsys):
  known = sorted(lineage.prepared(run_lib.read_config(place.run), place.run)[1])
  seen = [(f'{film}.png', 'M', 90, '') for film in known[:8]]
  out = place.folder / 'out'
  both = table(place.films, [*seen, *place.new], 'new.csv')
  call = ['external', place.run, f'--data={both}', f'--out={out}']
  with pytest.raises(SystemExit) as stop:
    evaluate.main(call)
  first, *lines, last = str(stop.value.code).splitlines()
  assert 'got 8 of 20' in first and last.startswith('Give --leave_out_seen ')
  assert [line.split()[0] for line in lines] == [*known[:5], 'and']
  assert lines[-1] == '  and 3 more'
  evaluate.main([*call, '--leave_out_seen'])
  said = capsys.readouterr().out
  assert 'subset: 12 of 20 films; external test, films that the run' in said
  assert "8 of 20 films trained or chose the run's nets and are left" in said
  left = json.loads((out / 'external.json').read_text())
  assert list(left['seen']) == known[:8] and left['checked']
  assert (
    left['seen'][known[0]] == f'film {known[0]} (train) of run, equal bytes'
  )
  alone = table(place.films, place.new, 'alone.csv')
  found, _ = external.external(place.run, alone, str(place.folder / 'alone'))
  assert found['seen'] == {} and 'subset' not in found['data']
  assert left['errors'] == found['errors']
  table(place.films, seen, 'new.csv')  # which `call` names
  with pytest.raises(SystemExit, match='No other film is left: give --data'):
    evaluate.main([*call, '--leave_out_seen'])


def test_rows_with_films_that_were_seen_do_not_join_those_without(place):
  """Nobody knew them while the prepared data were gone."""
  known = sorted(lineage.prepared(run_lib.read_config(place.run), place.run)[1])
  data = table(
    place.films, [(f'{known[0]}.png', 'M', 90, ''), *place.new], 'new.csv'
  )
  done, out = place.folder / 'run/prepare/done.json', str(place.folder / 'out')
  content = done.read_text()
  done.unlink()
  external.external(place.run, data, out, leave_out_seen=True)
  done.write_text(content)
  with pytest.raises(ValueError, match=r'other nets or settings \(data'):
    external.external(place.run, data, out, leave_out_seen=True)


def test_a_run_without_its_data_says_that_nothing_was_looked_up(place, capsys):
  done = place.folder / 'run/prepare/done.json'
  done.unlink()
  data, out = table(place.films, place.new, 'new.csv'), place.folder / 'out'
  result, _ = external.external(place.run, data, str(out))
  assert not result['checked']
  assert 'it may have seen some of these' in capsys.readouterr().err
  assert run_lib.read_run(str(out)).train is None


def test_bad_films_and_wrong_flags_are_said(place, capsys):
  (place.films / 'words.png').write_bytes(b'no film')
  some = [*place.new, ('words.png', 'F', 90, '')]
  data = table(place.films, some, 'new.csv', 'file,sex,boneage,group')
  out = str(place.folder / 'out')
  call = ['external', place.run, f'--data={data}', f'--out={out}']
  with pytest.raises(SystemExit, match='got no age_true, only file, sex, bone'):
    evaluate.main(call)
  with pytest.raises(SystemExit, match='Expected --column with one of file'):
    evaluate.main([*call, '--column=age=boneage'])
  evaluate.main([*call, '--column=age_true=boneage'])
  said = capsys.readouterr().out
  assert 'Films that cannot be read, 1:\n  words: ' in said


def test_how_often_intervals_hold_the_age():
  row = lambda age, low, high: {
    **{'file': str(age), 'age_true': str(age), 'age_predicted': '100'},
    **{'sex': 'F', 'group': '', 'lo90': str(low), 'hi90': str(high)},
    **{'lo80': str(low + 5), 'hi80': str(high - 5)},
  }
  rows = [row(100, 90, 110), row(92, 90, 110), row(80, 90, 110)]
  found = external_views.summarise(rows)
  assert found['levels'] == [80, 90]
  np.testing.assert_allclose(found['intervals']['covered'], [1 / 3, 2 / 3])
  assert found['intervals']['width'] == [10, 20]
  result = found | {'run': 'r', 'data': {}, 'refused': [], 'bad': []}
  result['seen'] = {}
  said = external_views.table(result, rows)
  assert '90 % intervals hold the age of 66.7 % of films' in said
  for name in ('lo90', 'lo80'):  # of a run that is not calibrated
    rows[0][name] = ''
  assert 'levels' not in external_views.summarise(rows)
