"""One film at a time, against the predictions of a run of untrained nets."""

import csv
import json
import os
import pathlib
import shutil

import cv2
import dicom_film
import jax
import numpy as np
import pytest

from boneage_jax import boxes
from boneage_jax import checkpoints
from boneage_jax import data
from boneage_jax import evaluate
from boneage_jax import gallery
from boneage_jax import main as main_lib
from boneage_jax import models
from boneage_jax import phantom
from boneage_jax import predict
from boneage_jax import train_step
from configs import cascade

BACKBONE = {
  'name': 'resnet',
  'depth': 18,
  'width': 0.0625,
  'stride_in': '3x3',  # inputs of order 1, or fresh nets saturate
}


def tiny(manual_dir):
  config = cascade.get_config('thumbnails')
  config.stages = config.stages[:-1]  # no report
  config.manual_dir = manual_dir
  config.data.update({'validation_fraction': 0.2, 'test_fraction': 0.2})
  for stage in ('localizer', 'assessor', 'whole'):
    config[stage].eval_batch_size = 8
    config[stage].input.size = 32
  net = config.localizer.net
  net.update({'attention': 'none', 'readout': 'expectation'})
  net.backbone = {**BACKBONE, 'tap': 'stage2'}
  # Not the usual ways, so that leaving one out shows.
  config.localizer.input.update({'polarity': 'invert', 'resize': 'letterbox'})
  config.regions.update({'batch_size': 8, 'crop_size': 32})
  config.regions.threshold = (0.8, 0.8)
  config.assessor.net.exchange = 'none'
  config.assessor.net.carpal = config.assessor.net.metacarpal = BACKBONE
  config.whole.input.builder_config = 'px512'
  config.whole.net.backbone = BACKBONE
  config.whole.net.update({'output': 'scalar', 'pool': 'gap'})
  return config


def untrained(config, stage, workdir):
  """A train job of no steps: fresh nets are the best there are."""
  section = config[stage]
  net = models.create(section.net, size=section.input.size, seed=1)
  graph, params, stats = train_step.split(net)
  if stage != 'localizer':  # fresh heads hardly tell films apart; these do
    params['age_head'] = jax.tree.map(lambda x: 3 * x, params['age_head'])
  variables = jax.device_put(
    {'params': params, 'batch_stats': stats},
    train_step.replicated(train_step.make_mesh()),
  )
  store = checkpoints.Checkpoints(os.path.join(workdir, stage, 'checkpoints'))
  store.save_best(1, variables, 1.0)
  store.wait()
  store.close()
  films = data.stage_films(config, stage, workdir)
  evaluate.write_predictions(
    config, stage, workdir, films, evaluate.make_predict(graph), variables
  )


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Folder with an archive, its films as files, and a run on them."""
  folder = tmp_path_factory.mktemp('tiny')
  manual = folder / 'manual'
  phantom.write_archive(str(manual), 24, 0, long_side=560, workers=1)
  shutil.unpack_archive(manual / 'boneage-training-dataset.zip', folder)
  (folder / 'boneage-training-dataset').rename(folder / 'films')
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(main_lib.JOBS, 'train', untrained)
    main_lib.run(tiny(str(manual)), str(folder / 'run'))
  return folder


@pytest.fixture(scope='module')
def predictor(run):
  return predict.Predictor(str(run / 'run'))


def rows(path):
  with open(path, newline='') as f:
    return list(csv.DictReader(f))


def film_path(run, film):
  return str(run / 'films' / f'{film}.png')


def read(run, film):
  return cv2.imread(film_path(run, film), cv2.IMREAD_GRAYSCALE)


def sex_of(row):
  return 'M' if float(row['male']) else 'F'


def write_dicom(path, bright_bones, sex):
  data = dicom_film.encoded(bright_bones, PatientSex=sex)
  pathlib.Path(path).write_bytes(data)


def command(capsys, *arguments):
  """Returns exit code, lines of stdout, stderr."""
  with pytest.raises(SystemExit) as stop:
    predict.main(list(map(str, arguments)))
  output = capsys.readouterr()
  return stop.value.code, output.out.splitlines(), output.err


def test_films_of_the_run_get_the_ages_and_boxes_of_the_run(run, predictor):
  folder = run / 'run'
  table = rows(folder / 'assessor/predictions.csv')
  expected = boxes.read_regions(str(folder / 'regions/regions.csv'))
  with np.load(folder / 'assessor/distributions.npz') as file:
    distributions = dict(zip(file['id'], file['probability'], strict=True))
  assert np.ptp([float(row['prediction']) for row in table]) > 0.1
  assert {row['split'] for row in table} == {'validation', 'test'}
  for row in table:
    film = int(row['id'])
    image = read(run, film)
    result = predictor.predict(image, sex_of(row))
    assert result['age'] == pytest.approx(float(row['prediction']), abs=1e-3)
    assert list(result['regions']) == ['carpal', 'metacarpal']
    for name, region in result['regions'].items():
      np.testing.assert_allclose(
        region.box, expected[film][name].box, atol=1e-6
      )
      assert region.found == expected[film][name].found
    np.testing.assert_allclose(
      result['probability'], distributions[film], atol=1e-3
    )
    height, width, colours = result['overlay'].shape
    assert result['overlay'].dtype == np.uint8
    assert colours == 3
    assert width / height == pytest.approx(
      image.shape[1] / image.shape[0], rel=0.01
    )


def test_a_whole_film_net_sees_the_shrunk_film(run, tmp_path):
  config = json.loads((run / 'run/config.json').read_text())
  config['report'].update(stage='whole', regions='')
  (tmp_path / 'config.json').write_text(json.dumps(config))
  (tmp_path / 'whole').symlink_to(run / 'run/whole')
  predictor = predict.Predictor(str(tmp_path))
  table = rows(run / 'run/whole/predictions.csv')
  assert np.ptp([float(row['prediction']) for row in table]) > 0.1
  for row in table:
    image = read(run, row['id'])
    assert max(image.shape) > 512
    result = predictor.predict(image, sex_of(row))
    assert result['age'] == pytest.approx(float(row['prediction']), abs=1e-3)
    assert result['regions'] == {}
    assert result['probability'] is None


def test_sex_counts_and_must_be_known_by_name(run, predictor):
  image = read(run, 1)
  ages = {predictor.predict(image, sex)['age'] for sex in predict.MALE}
  assert len(ages) == 3
  for sex in ('', None, 'm', 1.0):
    with pytest.raises(ValueError, match='sex'):
      predictor.predict(image, sex)


@pytest.mark.parametrize(
  'image',
  [
    np.zeros((8, 8, 3), np.uint8),
    np.ones((8, 8), np.float32),
    np.zeros((0, 8), np.uint8),
    np.full((8, 8), 7, np.uint8),
  ],
)
def test_what_is_no_film_is_refused(predictor, image):
  with pytest.raises(ValueError, match=r'uint8|blank'):
    predictor.predict(image, 'M')


def test_command(run, tmp_path, capsys):
  regions = boxes.read_regions(str(run / 'run/regions/regions.csv'))
  cut = tmp_path / 'cut.png'
  cut.write_bytes((run / 'films/1.png').read_bytes()[:900])
  films = [film_path(run, 1), cut, 'nowhere.png', film_path(run, 2)]
  code, lines, errors = command(
    capsys, *films, '--sex=F', f'--workdir={run}/run', f'--out={tmp_path}/out'
  )
  assert code == 1
  table = rows(tmp_path / 'out/predictions.csv')
  age = float(table[0]['age'])
  found = [name for name, region in regions[1].items() if region.found]
  assert lines == [
    f'{films[0]}: {gallery.years(age)} ({age:.1f} months), '
    f'regions found: {", ".join(found) or "none"}',
    lines[1],
    'For research, not for diagnosis.',
  ]
  assert lines[1].startswith(films[3])
  assert errors.splitlines()[-3:] == [
    '2 of 4 films not predicted:',
    f'  {cut}: truncated PNG: 900 bytes and no end',
    '  nowhere.png: cannot be read: No such file or directory',
  ]
  assert [row['film'] for row in table] == [films[0], films[3]]
  assert {row['sex'] for row in table} == {'F'}
  assert table[0]['regions'] == ' '.join(found)
  for name, region in regions[1].items():
    sides = [float(table[0][f'{name}_{side}']) for side in boxes.COLUMNS[2:6]]
    np.testing.assert_allclose(sides, region.box, atol=1e-6)
  pictures = sorted(path.name for path in (tmp_path / 'out').glob('*.png'))
  assert pictures == ['001_1.png', '002_2.png']


def test_a_region_that_is_not_found_is_said(
  run, predictor, capsys, monkeypatch
):
  cold = lambda image, male: np.zeros((1, 4, 4), np.float32)
  monkeypatch.setattr(predictor, '_maps', cold)
  film = film_path(run, 1)
  assert predict.predict_films(predictor, [film], 'F', None) == []
  output = capsys.readouterr()
  assert output.out.endswith('regions found: none\n')
  assert f'{film}: carpal was not found' in output.err
  assert f'{film}: metacarpal was not found' in output.err


def test_sex_of_a_film_is_never_guessed(run, capsys):
  film = film_path(run, 1)
  code, _, errors = command(capsys, film, f'--workdir={run}/run')
  assert code == 1
  assert f'{film}: sex is not known' in errors
  code, lines, _ = command(
    capsys, film, f'--workdir={run}/run', '--sex=unknown'
  )
  assert code == 0
  assert lines[0].startswith(film)


def test_dicom_with_the_sex_of_its_header(run, predictor, tmp_path, capsys):
  image = read(run, 1)
  image[0, :2] = 0, 255  # the whole range, which DICOM films are stretched to
  path = str(tmp_path / 'film')
  write_dicom(path, 255 - image, 'M')  # the run's own films have dark bones
  age = {sex: predictor.predict(image, sex)['age'] for sex in predict.MALE}
  for flag, used in ((None, 'M'), ('F', 'F'), ('unknown', 'unknown')):
    assert not predict.predict_films(predictor, [path], flag, str(tmp_path))
    row = rows(tmp_path / 'predictions.csv')[0]
    assert row['sex'] == used
    assert float(row['age']) == pytest.approx(age[used], abs=1e-3)
    assert ('header says sex M' in capsys.readouterr().err) == (used != 'M')
  write_dicom(path, 255 - image, 'O')
  bad = predict.predict_films(predictor, [path], None, None)
  assert 'sex is not known' in bad[0]


def test_no_run_and_no_checkpoint(run, tmp_path, capsys):
  code, _, _ = command(capsys, 'a.png', f'--workdir={tmp_path}/none')
  assert code == f'Error: No run in {tmp_path}/none: there is no config.json.'
  shutil.copy(run / 'run/config.json', tmp_path)
  code, _, _ = command(capsys, 'a.png', f'--workdir={tmp_path}')
  assert code.startswith(f'Error: No checkpoint in {tmp_path}/localizer')
  assert os.listdir(tmp_path) == ['config.json']
