"""One film at a time, against the predictions of a run of untrained nets."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import run_films
import without

from boneage_jax import predict
from boneage_jax.data import groups
from boneage_jax.imaging import boxes
from boneage_jax.inference import loading
from boneage_jax.inference import one_film
from boneage_jax.inference import tables


@pytest.fixture(scope='module')
def run(untrained):
  """Folder with an archive, its films as files, and a run on them."""
  return untrained


@pytest.fixture(scope='module')
def predictor(run):
  return loading.load(str(run / 'run'))


def sex_of(row):
  return row['sex']


def command(capsys, *arguments):
  """Returns exit code, lines of stdout, stderr."""
  with pytest.raises(SystemExit) as stop:
    predict.main(list(map(str, arguments)))
  output = capsys.readouterr()
  return stop.value.code, output.out.splitlines(), output.err


def test_films_of_the_run_get_the_ages_and_boxes_of_the_run(run, predictor):
  folder = run / 'run'
  table = run_films.rows(folder / 'assessor/predictions.csv')
  expected = boxes.read_regions(str(folder / 'regions/regions.csv'))
  with np.load(folder / 'assessor/distributions.npz') as file:
    distributions = dict(zip(file['id'], file['probability'], strict=True))
  assert np.ptp([float(row['age_predicted']) for row in table]) > 0.1
  assert {row['split'] for row in table} == {'validation', 'test'}
  for row in table:
    film = row['id']
    image = run_films.read(run, film)
    result = predictor.predict(image, sex_of(row))
    assert result.age_predicted == pytest.approx(
      float(row['age_predicted']), abs=1e-3
    )
    assert list(result.regions) == ['carpal', 'metacarpal']
    for name, region in result.regions.items():
      np.testing.assert_allclose(
        region.box, expected[film][name].box, atol=1e-6
      )
      assert region.found == expected[film][name].found
    np.testing.assert_allclose(
      result.probability, distributions[film], atol=1e-3
    )
    height, width, colours = result.overlay.shape
    assert result.overlay.dtype == np.uint8
    assert colours == 3
    assert width / height == pytest.approx(
      image.shape[1] / image.shape[0], rel=0.01
    )


def test_a_whole_film_net_sees_the_shrunk_film(run, tmp_path):
  config = json.loads((run / 'run/config.json').read_text())
  config['report'].update(stage='whole_image', regions_from='')
  (tmp_path / 'config.json').write_text(json.dumps(config))
  (tmp_path / 'whole_image').symlink_to(run / 'run/whole_image')
  predictor = loading.load(str(tmp_path))
  table = run_films.rows(run / 'run/whole_image/predictions.csv')
  assert np.ptp([float(row['age_predicted']) for row in table]) > 0.1
  for row in table:
    image = run_films.read(run, row['id'])
    assert max(image.shape) > 512
    result = predictor.predict(image, sex_of(row))
    assert result.age_predicted == pytest.approx(
      float(row['age_predicted']), abs=1e-3
    )
    assert result.regions == {}
    assert result.probability is None


def test_sex_counts_and_must_be_known_by_name(run, predictor):
  image = run_films.read(run, 1)
  ages = {s: predictor.predict(image, s).age_predicted for s in groups.SEX}
  assert len(set(ages.values())) == 3
  assert ages['unknown'] == pytest.approx((ages['M'] + ages['F']) / 2)
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
  with pytest.raises(ValueError, match=r'uint8|Blank'):
    predictor.predict(image, 'M')


def test_command(run, tmp_path, capsys):
  regions = boxes.read_regions(str(run / 'run/regions/regions.csv'))
  cut = tmp_path / 'cut.png'
  cut.write_bytes((run / 'films/1.png').read_bytes()[:900])
  films = [run_films.path(run, 1), cut, 'nowhere.png', run_films.path(run, 2)]
  code, lines, errors = command(
    capsys, *films, '--sex=F', f'--workdir={run}/run', f'--out={tmp_path}/out'
  )
  assert code == 1
  table = run_films.rows(tmp_path / 'out/predictions.csv')
  age = float(table[0]['age_predicted'])
  found = [name for name, region in regions['1'].items() if region.found]
  flags = table[0]['quality_flags'].split()
  assert lines == [
    lines[0],
    f'{films[0]}: {tables.years(age)} ({age:.1f} months), '
    f'regions found: {", ".join(found) or "none"}; check: {", ".join(flags)}',
    lines[2],
    'For research, not for diagnosis.',
  ]
  assert lines[2].startswith(films[3])
  assert lines[0].startswith('cascade:thumbnails, assessor, boneage_jax ')
  # They are phantoms, though an archive was given.
  said = 'trained on synthetic films; ages of real films are meaningless'
  assert said in lines[0]
  assert {said in row['trained_on'] for row in table} == {True}
  assert errors.splitlines()[-3:] == [
    '2 of 4 films not predicted:',
    f'  {cut}: Truncated PNG: 900 bytes and no end; copy the file again.',
    '  nowhere.png: Cannot be read: No such file or directory.',
  ]
  assert [row['file'] for row in table] == [films[0], films[3]]
  assert {row['sex'] for row in table} == {'F'}
  assert {row['status'] for row in table} == {'check'}
  assert flags[0] == 'polarity'  # bright bones
  assert ('region' in flags) == (len(found) < 2)
  assert 'no fitted quality checks, so that no film is refused' in errors
  assert table[0]['regions'] == ' '.join(found)
  for name, region in regions['1'].items():
    sides = [float(table[0][f'{name}_{side}']) for side in boxes.COLUMNS[2:6]]
    np.testing.assert_allclose(sides, region.box, atol=1e-6)
  pictures = sorted(path.name for path in (tmp_path / 'out').glob('*.png'))
  assert pictures == sorted(row['picture'] for row in table)
  assert [name[:2] for name in pictures] == ['1_', '2_']


def test_a_calibrated_run_says_intervals(run, tmp_path, capsys):
  (tmp_path / 'whole_image').mkdir()
  for name in ('config.json', 'whole_image/checkpoints'):
    (tmp_path / name).symlink_to(run / 'run' / name)
  calibrated = {
    'score': 'absolute',
    'levels': [80, 90, 95],
    'temperature': None,
    'groups': {'any': {'cuts': [], 'n': [99], 'quantiles': [[5, 10, 500]]}},
  }
  path = tmp_path / 'whole_image/calibration.json'
  path.write_text(json.dumps(calibrated))
  code, (_, line, _), _ = command(
    capsys,
    *(run_films.path(run, 1), '--sex=F', '--stage=whole_image'),
    *(f'--workdir={tmp_path}', f'--out={tmp_path}/out'),
  )
  (row,) = run_films.rows(tmp_path / 'out/predictions.csv')
  age = float(row['age_predicted'])
  for name, end in (('lo80', age - 5), ('hi80', age + 5), ('hi95', age + 500)):
    assert float(row[name]) == pytest.approx(max(end, 0), abs=0.06)
  assert float(row['lo95']) == 0  # nobody is younger
  low, high = max(age - 10, 0), age + 10
  assert f'({age:.1f} months, 90 %: {low:.1f} to {high:.1f})' in line
  assert code == 0


def test_a_region_that_is_not_found_is_said(
  run, predictor, capsys, monkeypatch
):
  cold = lambda image, sex: np.zeros((1, 4, 4), np.float32)
  locating = predictor.finder.cut
  (locator,) = locating.locators
  cold = locator._replace(maps=cold)
  monkeypatch.setattr(locating, 'locators', [cold])
  film = run_films.path(run, 1)
  assert predict.predict_films(predictor, [film], 'F', None) == []
  output = capsys.readouterr()
  assert 'regions found: none; check: ' in output.out
  assert output.out.endswith('region\n')
  assert f'{film}: carpal was not found' in output.err
  assert f'{film}: metacarpal was not found' in output.err


def test_sex_of_a_film_is_never_guessed(run, capsys):
  film = run_films.path(run, 1)
  code, _, errors = command(capsys, film, f'--workdir={run}/run')
  assert code == 2  # no film was read
  assert f'{film}: The sex is not known' in errors
  code, lines, _ = command(
    capsys, film, f'--workdir={run}/run', '--sex=unknown'
  )
  assert code == 0
  assert lines[1].startswith(film)
  assert ' if male, ' in lines[1] and ' if female, one half each' in lines[1]


def test_no_run_and_no_checkpoint(run, tmp_path, capsys):
  code, _, errors = command(capsys, 'a.png', f'--workdir={tmp_path}/none')
  assert code == 2
  assert errors == (
    f'Error: No run in {tmp_path}/none: there is no config.json.\n'
  )
  (tmp_path / 'ensemble.json').write_text('{}')
  _, _, errors = command(capsys, 'a.png', f'--workdir={tmp_path}')
  assert 'holds predictions of several runs, but no net' in errors
  (tmp_path / 'ensemble.json').unlink()
  shutil.copy(run / 'run/config.json', tmp_path)
  _, _, errors = command(capsys, 'a.png', f'--workdir={tmp_path}')
  assert errors.startswith(f'Error: No checkpoint in {tmp_path}/localizer')
  assert os.listdir(tmp_path) == ['config.json']


def test_no_package_that_windows_lacks_is_used(run, predictor):
  """Not even late: there are no wheels of these for Windows."""
  text = (
    'import sys\n'
    f'for name in {sorted(without.NOT_TO_PREDICT)}:\n'
    '  sys.modules[name] = None\n'
    'from boneage_jax import predict\n'
    'predict.main(sys.argv[1:])\n'
  )
  film = run_films.path(run, 1)
  flags = (film, '--sex=M', f'--workdir={run}/run')
  done = subprocess.run(
    [sys.executable, '-c', text, *flags],
    cwd=pathlib.Path(__file__).parent.parent,
    capture_output=True,
    text=True,
    check=False,
  )
  assert not done.returncode, done.stderr
  found = predictor.predict(run_films.read(run, 1), 'M')
  assert f'\n{film}: {tables.format_line(found)}\n' in done.stdout


def test_a_film_of_the_other_polarity_is_named_but_not_flipped(
  run, predictor, tmp_path, capsys
):
  image = run_films.read(run, 1)
  assert predictor.inverted  # so these films, with bright bones, are not as its
  for film, other in ((image, True), (255 - image, False)):
    path, out = str(tmp_path / 'film.png'), str(tmp_path / f'{other}')
    cv2.imwrite(path, film)
    assert not predict.predict_films(predictor, [path], 'F', out)
    errors = capsys.readouterr().err
    assert (f'{path}: the bones look bright, but' in errors) == other
    assert ('--config.STAGE.input.polarity=keep' in errors) == other
    (row,) = run_films.rows(tmp_path / f'{other}/predictions.csv')
    found = predictor.predict(film, 'F')
    assert float(row['age_predicted']) == pytest.approx(
      found.age_predicted, abs=1e-3
    )
    assert ('polarity' in row['quality_flags'].split()) == other


def test_an_age_does_not_depend_on_the_films_beside_it(run):
  """Bit for bit in any order; within 0.001 months for other batches."""
  images = [run_films.read(run, k) for k in range(1, 6)]
  sexes = ['F', 'M', 'unknown', 'F', 'M']
  nets = loading.load(str(run / 'run'), 'whole_image', batch_size=4)
  records = [
    one_film.record(nets, image, sex)
    for image, sex in zip(images, sexes, strict=True)
  ]

  def ages(order, size):
    said = {}
    for k in range(0, len(order), size):
      some = order[k : k + size]
      found = one_film.predict_records(nets, [records[i] for i in some])
      said |= {i: one.age_predicted for i, one in zip(some, found, strict=True)}
    return [said[i] for i in range(5)]

  whole = ages([0, 1, 2, 3, 4], 4)
  assert np.ptp(whole) > 0.1
  assert ages([4, 2, 0, 3, 1], 4) == whole
  assert ages([0, 1, 2, 3, 4], 1) == whole  # padded
  single = loading.load(str(run / 'run'), 'whole_image')
  for image, sex, age in zip(images, sexes, whole, strict=True):
    assert single.predict(image, sex).age_predicted == pytest.approx(
      age, abs=1e-3
    )
