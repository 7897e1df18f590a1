"""Films that lie turned, against the same films upright."""

import csv
import json
import types

import cv2
import dummy_archive
from encode import encode
from ml_collections import ConfigDict
import numpy as np
import pytest
import untrained_run

from boneage_jax import predict
from boneage_jax.core import stages
from boneage_jax.data import preprocess
from boneage_jax.data import selection
from boneage_jax.inference import loading
from boneage_jax.runs import located
from boneage_jax.runs import run as run_lib
from boneage_jax.training import loop
from boneage_jax.training.tasks import classification
from boneage_jax.workflow import jobs
from boneage_jax.workflow import run as workflow_run
from configs import common
from configs import orientation_net

FILMS = 190
# Film -> how many quarters it lies turned, and the film that stands as it was.
LYING = {200 + i: (1 + i % 3, i) for i in range(1, 25)}


def film(number):
  """A picture with a bright top, noise, and a side that tells films apart."""
  rng = np.random.default_rng(number)
  ramp = np.linspace(230, 20, 40)[:, None] + rng.normal(0, 12, (40, 34))
  ramp[:, : 4 + number % 20] *= 0.7
  return np.clip(ramp, 0, 255).astype(np.uint8)


def config(**changes):
  return types.SimpleNamespace(**common.image_input(**changes))


def test_less_than_sure_films_stay_as_they_lie():
  sure = preprocess.SURE
  probability = np.full((6, 4), (1 - sure) / 3)
  probability[range(4), range(4)] = sure
  probability[4] = (0.05, sure - 0.01, 0.02, 0.04)
  probability[5] = 0.25
  np.testing.assert_array_equal(
    preprocess.quarter_turns(probability), [0, 1, 2, 3, 0, 0]
  )


@pytest.mark.parametrize('quarters', range(4))
def test_a_film_turned_back_is_the_film(quarters):
  before = {'id': '3', 'row': 3, 'image': encode(np.rot90(film(3), quarters))}
  before |= {'annotations': '{"hand_box": [0, 0, 1, 1]}', 'holes': [1]}
  record = preprocess.rotate_back(before, quarters)
  image = cv2.imdecode(np.frombuffer(record['image'], np.uint8), 0)
  np.testing.assert_array_equal(image, film(3))
  assert record.get('rotation_deg', 0) == 90 * quarters
  assert (record['annotations'] == before['annotations']) == (quarters == 0)
  assert record['id'] == '3' and record['holes'] == [1]


def test_films_are_shown_turned_and_the_net_is_asked_by_how_much():
  settings = config(size=40, rotate90=True)
  square = film(1)[:, :34].repeat(2, 1)[:40, :40]
  record = {
    'id': '1',
    'row': 1,
    'sex': 1.0,
    'age': 1.0,
    'image': encode(square),
    'label': 3,
  }
  seen = preprocess.make_example(record, settings)
  assert seen['label'] == 3
  np.testing.assert_array_equal(seen['image'][..., 0], np.rot90(square, 3))
  counts = np.zeros(4, int)
  for seed in range(200):
    seen = preprocess.make_example(
      record, settings, np.random.default_rng(seed)
    )
    counts[seen['label']] += 1
    turned = np.rot90(square, seen['label'])
    np.testing.assert_array_equal(seen['image'][..., 0], turned)
  assert counts.min() > 30
  mirrored = 0
  settings = config(size=40, rotate90=True, flip=True)
  for seed in range(200):
    seen = preprocess.make_example(
      record, settings, np.random.default_rng(seed)
    )
    image = np.rot90(seen['image'][..., 0], -seen['label'])
    as_it_was = (image == square).all()
    assert as_it_was or (image == square[:, ::-1]).all()
    mirrored += not as_it_was
  assert 70 < mirrored < 130


def test_mirrored_views_are_refused():
  settings = ConfigDict({'orientation': orientation_net.stage()})
  classification.check(settings, 'orientation')
  settings.orientation.tta.flip = True
  with pytest.raises(ValueError, match=r'orientation\.tta\.flip=False'):
    classification.check(settings, 'orientation')


def write_archive(folder):
  """Films 1 to FILMS, and some of them once more, turned."""
  folder.mkdir()
  films = {i: film(i) for i in range(1, FILMS + 1)}
  films |= {i: np.rot90(films[of], k) for i, (k, of) in LYING.items()}
  name = dummy_archive.TRAIN
  (folder / name).mkdir()
  rows = [('id', 'boneage', 'male')]
  for i, image in films.items():
    (folder / name / f'{i}.png').write_bytes(encode(image))
    rows.append((i, 20 + i % 200, i % 2 == 0))  # lying films: alike
  dummy_archive.write_table(folder / f'{name}.csv', rows)


def job(config, stage, workdir):
  """Train the net that tells turns; others stay as they were born."""
  of = (
    loop.train_and_evaluate
    if stage == 'orientation'
    else untrained_run.untrained
  )
  of(config, stage, workdir)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A cascade of fresh nets behind a net that tells turns."""
  folder = tmp_path_factory.mktemp('orientation')
  write_archive(folder / 'manual')
  settings = untrained_run.tiny(str(folder / 'manual'))
  settings.data.update(validation_fraction=0.2, test_fraction=0.2)
  settings.orientation = ConfigDict(orientation_net.stage())
  settings.orientation.update(
    batch_size=16, steps=200, epochs=0, eval_steps=100
  )
  settings.orientation.input.update(
    size=32, corruption_prob=0.0, polarity='invert'
  )
  settings.orientation.net.backbone = {
    **untrained_run.BACKBONE,
    'width': 0.25,
    'endpoint': 'stage1',
  }
  settings.orientation.optimizer.learning_rate = 1e-2
  settings.localizer.input.orientation_from = 'orientation'
  settings.report.baselines = ('localizer',)
  del settings.whole_image
  settings.stages = (
    'prepare',
    'orientation',
    'localizer',
    'regions',
    'assessor',
    'report',
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(jobs.JOBS, 'train', job)
    workflow_run.run(settings, str(folder / 'run'))
  return folder / 'run'


def test_the_films_that_lie_are_found(run):
  with open(run / 'orientation' / 'rotated.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  found = {row['id']: int(row['rotation_deg']) // 90 for row in rows}
  assert found == {str(i): k for i, (k, _) in LYING.items()}
  assert found == selection.film_rotations(str(run), 'orientation')
  assert selection.film_rotations(str(run), '') == {}
  assert all(float(row['probability']) >= preprocess.SURE for row in rows)
  table = runs_table(run / 'orientation' / 'predictions.csv')
  judged = {int(row['id']): row for row in table}
  standing = [row for i, row in judged.items() if i not in LYING]
  assert len(standing) > 5 and all(
    int(row['label']) == 90 * (int(row['id']) % 4) for row in standing
  )
  right = [row['label'] == row['predicted'] for row in standing]
  assert np.mean(right) > 0.9


def runs_table(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def test_every_stage_reads_them_upright(run):
  for stage in ('localizer', 'assessor'):
    rows = run_lib.read_run(f'{run}:{stage}').rows
    ids = map(int, rows['id'])
    age = dict(zip(ids, rows['prediction'], strict=True))
    pairs = [(i, of) for i, (_, of) in LYING.items() if {i, of} <= age.keys()]
    assert len(pairs) > 2 and np.ptp(list(age.values())) > 0.01
    for lying, standing in pairs:
      assert age[lying] == pytest.approx(age[standing], abs=1e-3)
  found, _, maps = located.read_located(str(run), 'regions')
  for i, (_, of) in LYING.items():
    lying, standing = str(i), str(of)
    for name in ('carpal', 'metacarpal'):
      np.testing.assert_allclose(
        found[lying][name].box, found[standing][name].box, atol=1e-5
      )
    np.testing.assert_allclose(
      maps['maps'][lying], maps['maps'][standing], atol=2e-3
    )


def test_new_films_are_turned_back_and_it_is_said(run, tmp_path, capsys):
  predictor = loading.load(str(run), batch_size=2)
  rows = run_lib.read_run(str(run)).rows
  number = next(i for i in map(int, rows['id']) if i <= FILMS and i % 2 == 0)
  paths = [tmp_path / 'standing.png', tmp_path / 'lying.png']
  pictures = film(number), np.rot90(film(number))
  for path, image in zip(paths, pictures, strict=True):
    path.write_bytes(encode(image))
  records = [
    {'id': str(i), 'row': i, 'sex': 1.0, 'age': 0.0, 'image': path.read_bytes()}
    for i, path in enumerate(paths)
  ]
  outputs, films = predictor.outputs(records)
  assert outputs['age'][0] == pytest.approx(outputs['age'][1], abs=1e-3)
  assert [one.rotation_deg for one in films] == [0, 90]
  bright = 255 - film(number)  # polarity='invert'
  np.testing.assert_array_equal(films[1].image, bright)
  (stored,) = rows['prediction'][rows['id'] == str(number)]
  assert outputs['age'][0] == pytest.approx(stored, abs=2e-3)
  with pytest.raises(SystemExit) as stop:
    predict.main(
      [*map(str, paths), f'--workdir={run}', '--sex=M', f'--out={tmp_path}']
    )
  assert not stop.value.code
  _, *printed = capsys.readouterr().out.splitlines()  # what ages rest on
  assert 'turned back' not in printed[0]
  assert '; was rotated by 90 degrees, turned back' in printed[1]
  table = runs_table(tmp_path / 'predictions.csv')
  assert [row['rotation_deg'] for row in table] == ['0', '90']
  assert table[0]['carpal_x0'] == pytest.approx(table[1]['carpal_x0'])
  shown = [cv2.imread(str(tmp_path / row['picture'])) for row in table]
  assert shown[0].shape[1] == shown[1].shape[1]  # below are lines of words


def test_the_report_counts_them(run):
  result = json.loads((run / 'report' / 'report.json').read_text())
  said = f'{len(LYING)} rotated films are turned upright'
  assert result['data']['split'].endswith(said)


def test_without_the_stage_it_is_asked_for(run):
  with pytest.raises(ValueError, match="run the stage 'other' first"):
    selection.film_rotations(str(run), 'other')
  settings = run_lib.read_config(str(run))
  of = lambda name: stages.Stage(settings, name, str(run)).orientation()
  assert of('assessor') == of('regions') == 'orientation'
  settings.assessor.input.crops_from = ''
  assert not of('assessor')
  settings.both = dict(job='ensemble', members=('localizer', 'assessor'))
  assert of('both') == 'orientation'
