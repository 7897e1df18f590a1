"""New films of a run that registers: the ages, and all else, of the run."""

import csv

import cv2
import numpy as np
import pytest
import registered_run

from boneage_jax import predict
from boneage_jax.data import selection
from boneage_jax.data import sources
from boneage_jax.evaluation import deletion_insertion
from boneage_jax.imaging import codec
from boneage_jax.imaging import registration
from boneage_jax.inference import loading
from boneage_jax.inference import registering
from boneage_jax.inference import tables
from boneage_jax.regions import registration_table
from boneage_jax.runs import run as run_lib


@pytest.fixture(scope='module')
def run(registered):
  return registered


@pytest.fixture(scope='module')
def nets(run):
  return loading.load(str(run), batch_size=8)


@pytest.fixture(scope='module')
def films(run):
  config = run_lib.read_config(str(run))
  films, _ = selection.split_films(config, str(run), 'original')
  return selection.select_split(films, 'test')


@pytest.fixture(scope='module')
def records(run, films):
  config = run_lib.read_config(str(run))
  source = sources.whole_films(config, str(run), 'original', films, {})
  return [source[k] for k in range(len(source))]


def test_films_of_the_run_get_its_ages_and_places(run, nets, records):
  table = registration_table.read(str(run / 'register/registration.csv'))
  expected = run_lib.read_run(f'{run}:all').rows
  ages = dict(zip(expected['id'], expected['prediction'], strict=True))
  assert np.ptp(list(ages.values())) > 0.1
  outputs, found = [], []
  for start in range(0, len(records), 8):
    part, seen = nets.outputs(records[start : start + 8])
    outputs += part['age'].tolist()
    found += seen
  for record, age, film in zip(records, outputs, found, strict=True):
    assert age == pytest.approx(ages[record['id']], abs=1e-3)
    entry, placed = table[record['id']], film.hand.placed
    assert (entry.status, entry.reason) == (placed.status, placed.reason)
    assert ('registration' in film.quality_flags) == (entry.status == 'failed')
    if entry.matrix is not None:
      hw = film.image.shape
      matrix = registration.to_fractions(placed.registration.matrix, hw)
      np.testing.assert_allclose(matrix, entry.matrix, atol=1e-2)
  said = {film.hand.placed.status for film in found}
  assert {'points', 'mask'} <= said


def test_an_ensemble_looks_for_the_hand_once(nets, records, monkeypatch):
  calls = []
  look = registering.Registering.__call__

  def counted(self, films, records):
    calls.append(len(films))
    return look(self, films, records)

  monkeypatch.setattr(registering.Registering, '__call__', counted)
  few = [*records[:3], {**records[3], 'sex': 1}, {**records[4], 'sex': -1}]
  nets.outputs(few)  # of a net of both and a pair of one sex each
  assert sum(calls) == 5


def command(run, tmp_path, capsys, *images):
  paths = [str(tmp_path / f'{k}.png') for k in range(len(images))]
  for path, image in zip(paths, images, strict=True):
    cv2.imwrite(path, image)
  out = tmp_path / 'out'
  arguments = (*paths, f'--workdir={run}', '--sex=F', f'--out={out}')
  with pytest.raises(SystemExit) as stop:
    predict.main(arguments)
  assert stop.value.code == 0
  with open(out / 'predictions.csv', newline='') as file:
    return (
      list(csv.DictReader(file)),
      capsys.readouterr(),
      sorted(out.glob('*.png')),
    )


def test_table_picture_and_words(run, records, tmp_path, capsys):
  film = codec.decode_stored(records[0]['image'])
  noise = np.random.default_rng(0).integers(0, 255, film.shape, np.uint8)
  rows, said, pictures = command(run, tmp_path, capsys, film, noise)
  table = registration_table.read(str(run / 'register/registration.csv'))
  entry = table[records[0]['id']]
  assert rows[0]['registration'] == entry.status
  assert float(rows[0]['scale']) == pytest.approx(entry.scale, abs=1e-3)
  assert float(rows[0]['angle_deg']) == pytest.approx(entry.angle_deg, abs=0.05)
  assert int(rows[0]['mirrored']) == entry.mirrored
  for name in registration.POINTS:
    assert -1 < float(rows[0][f'{name}_x']) < 2
  assert f', {tables.STATUS[entry.status]}' in said.out
  picture = cv2.imread(str(pictures[0]))
  assert picture.max(-1).astype(int).max() and np.ptp(picture, -1).max() > 60


def test_a_film_without_a_hand_is_flagged_in_words(
  run, nets, records, capsys, tmp_path, monkeypatch
):
  close = [[0.5, 0.5], [0.5, 0.55], [0.8, 0.5]]
  found = lambda rows, *_: np.array([close] * len(rows['points']))
  monkeypatch.setattr(registering.placement, 'of_net', found)
  monkeypatch.setattr(
    registering.mask_quality, 'reason', lambda *_: 'several parts'
  )
  path = str(tmp_path / 'film.png')
  cv2.imwrite(path, codec.decode_stored(records[0]['image']))
  assert not predict.predict_films(nets, [path], 'F', str(tmp_path / 'out'))
  said = capsys.readouterr()
  assert ', not registered; check: ' in said.out
  assert f'warning: {path}: the hand was not found' in said.err
  assert 'the hand is too small or too large' in said.err
  assert 'there is no mask that can be used' in said.err
  assert 'doubtful (several parts), and what lies around' in said.err
  with open(tmp_path / 'out/predictions.csv', newline='') as file:
    (row,) = csv.DictReader(file)
  assert row['status'] == 'check' and 'registration' in row['quality_flags']
  assert row['registration'] == 'failed' and row['scale'] == ''
  assert row['registration_reason'].split()[-1] == 'no_mask'


def test_a_run_without_its_figures_is_refused(registered, tmp_path):
  config = registered_run.tiny()
  for name in ('keypoints', 'mine'):
    (tmp_path / name).symlink_to(registered / name)
  with pytest.raises(ValueError, match=r'registration\.json, found none: run'):
    registering.Registering(config, 'register', str(tmp_path), 1)


def test_registered_regions_have_no_heat_map(run):
  with pytest.raises(ValueError, match=r'got registered:hand, which reads re'):
    deletion_insertion.Judge(run_lib.read_run(f'{run}:hand'))
