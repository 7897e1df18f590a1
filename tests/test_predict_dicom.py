"""DICOM films, and files with something odd, as `predict` reads them."""

import pathlib

import dicom_film
import dicom_tools
import jax
import numpy as np
import pytest
import run_films

from boneage_jax import predict
from boneage_jax.data import groups
from boneage_jax.inference import contents
from boneage_jax.inference import loading


@pytest.fixture(scope='module')
def predictor(untrained):
  return loading.load(str(untrained / 'run'))


def write_dicom(path, bright_bones, sex):
  data = dicom_film.encoded(
    bright_bones,
    PatientSex=sex,
    PatientName='Miller^Ann',
    SOPInstanceUID='1.2.840.7',
    WindowCenter=128,
    WindowWidth=256,
  )
  pathlib.Path(path).write_bytes(data)


def test_dicom_with_the_sex_of_its_header(
  untrained, predictor, tmp_path, capsys
):
  image = run_films.read(untrained, 1)
  path = str(tmp_path / 'film')
  write_dicom(path, 255 - image, 'M')  # the run's own films have dark bones
  age = {sex: predictor.predict(image, sex).age_predicted for sex in groups.SEX}
  for flag, used in ((None, 'M'), ('F', 'F'), ('unknown', 'unknown')):
    out = tmp_path / f'out_{flag}'
    assert not predict.predict_films(predictor, [path], flag, str(out))
    row = run_films.rows(out / 'predictions.csv')[0]
    assert row['sex'] == used
    assert row['sop_instance_uid'] == '1.2.840.7'
    assert 'Miller' not in (out / 'predictions.csv').read_text()
    assert float(row['age_predicted']) == pytest.approx(age[used], abs=1e-3)
    assert ('header says sex M' in capsys.readouterr().err) == (used != 'M')
  write_dicom(path, 255 - image, 'O')
  bad = predict.predict_films(predictor, [path], None, None)
  assert 'The sex is not known' in bad[0]


def test_dicom_films_get_dicom_objects(untrained, predictor, tmp_path, capsys):
  pydicom = pytest.importorskip('pydicom')
  pytest.importorskip('highdicom')
  image = run_films.read(untrained, 1)
  film, out = tmp_path / 'film.dcm', tmp_path / 'objects'
  film.write_bytes(dicom_tools.film((255 - image).astype(np.uint16) * 257))
  other = str(untrained / 'films/1.png')
  times = []
  for _ in range(2):  # the second time they are there
    with pytest.raises(SystemExit) as stop:
      predict.main(
        [
          *(str(film), other, '--sex=M', f'--workdir={untrained}/run'),
          f'--dicom_out={out}',
        ]
      )
    assert stop.value.code == 0
    assert f'{other}: No DICOM film, so that' in capsys.readouterr().err
    times.append({path.name: path.read_bytes() for path in out.iterdir()})
  assert times[0] == times[1]
  assert len(times[0]) == 2
  datasets = [pydicom.dcmread(path) for path in out.iterdir()]
  (report,) = [one for one in datasets if one.Modality == 'SR']
  (picture,) = [one for one in datasets if one.Modality == 'OT']
  (number,) = [
    one.MeasuredValueSequence[0].NumericValue
    for one in report.ContentSequence[-1].ContentSequence[0].ContentSequence
    if one.ValueType == 'NUM'
  ]
  said = predictor.predict(image, 'M')
  assert float(number) == pytest.approx(said.age_predicted, abs=0.01)
  height = len(said.overlay)
  shown = picture.pixel_array[:height].astype(int)
  assert np.abs(shown - said.overlay).max() <= 1  # of another batch size


def test_what_is_odd_about_a_file_is_said(
  untrained, predictor, tmp_path, capsys
):
  image = 255 - run_films.read(untrained, 1)
  whole = (untrained / 'films/1.png').read_bytes()
  (tmp_path / 'tail.png').write_bytes(whole + b'behind')
  (tmp_path / 'window.dcm').write_bytes(
    dicom_film.encoded(image, WindowCenter=9000, WindowWidth=2)
  )
  paths = [str(tmp_path / name) for name in ('tail.png', 'window.dcm')]
  assert not predict.predict_films(predictor, paths, 'F', str(tmp_path))
  tail, window = run_films.rows(tmp_path / 'predictions.csv')
  errors = capsys.readouterr().err
  assert tail['file_notes'] == 'trailing_bytes'
  assert (
    'trailing_bytes' not in tail['quality_flags']
  )  # a harmless note is no flag
  assert f'{paths[0]}: bytes behind the end of the picture' in errors
  assert window['file_notes'] == 'window'
  assert 'window' in window['quality_flags'].split()
  assert window['status'] == 'check'
  assert errors.count(f'{paths[1]}: the window of the DICOM header') == 1


def test_a_digest_of_nets_follows_from_all_their_arrays(predictor, monkeypatch):
  def changed(loaded):
    leaves, tree = jax.tree.flatten(loaded.variables)
    leaves[-1] = leaves[-1] + 1e-3
    return loaded._replace(variables=jax.tree.unflatten(tree, leaves))

  before = contents.digest(predictor)
  assert contents.digest(predictor) == before
  locating = predictor.finder.cut
  (locator,) = locating.locators
  other = locator._replace(loaded=changed(locator.loaded))
  for owner, name, value in (
    (predictor.net, 'loaded', changed(predictor.net.loaded)),
    (locating, 'locators', [other]),
  ):
    with monkeypatch.context() as patch:
      patch.setattr(owner, name, value)
      assert contents.digest(predictor) != before
