"""Reports and pictures, read again by others' programs."""

import io
import os
import time

import dicom_film
import dicom_tools
import made_prediction
import numpy as np
import pytest

from boneage_jax.imaging import dicom
from boneage_jax.inference import basis
from boneage_jax.inference import dicom_out
from boneage_jax.inference import dicom_source
from boneage_jax.inference import film_list

pydicom = pytest.importorskip('pydicom')
highdicom = pytest.importorskip('highdicom')
pytest.importorskip('highdicom.sr')

BASIS = basis.Basis('cascade:phantom, assessor', '0.1.0', '60 phantoms', True)
SETTINGS = {'model': 'a', 'site': None, 'version': '0.1.0'}
PICTURE = np.zeros((440, 340, 3), np.uint8)
PICTURE[100:200] = 200, 100, 50
WHY = 'the film does not show a hand: give a film of one hand'
AGE = ('85151-9', 'LN', 'XR Bone age')


def made(**changes):
  fields = {'basis': BASIS, 'overlay': PICTURE, **changes}
  return made_prediction.made(**fields)


KINDS = {
  'sure': made(
    intervals={80: (95.0, 105.0), 90: (90.25, 110.5)},
    quality_flags=('polarity', 'for_processing'),
  ),
  'unknown': made(
    sex='unknown',
    age_if_male=90.0,
    age_if_female=110.0,
    intervals={90: (80.0, 120.0)},
  ),
  'refused': made(quality_flags=('not_a_hand',), intervals={90: (1.0, 2.0)}),
  'unreadable': None,
}


def write(folder, prediction, said=(WHY,), data=None, settings=SETTINGS):
  """Writes what there is of a film; returns it, read by pydicom."""
  film = dicom_source.read(data or dicom_tools.film())
  paths = dicom_out.write(str(folder), settings, film, prediction, said)
  return [pydicom.dcmread(path) for path in paths]


def groups_of(report):
  content = highdicom.sr.ComprehensiveSR.from_dataset(report).content
  return content.get_image_measurement_groups()


def ages(group):
  return [
    (m.name.meaning, m.value, m.unit.value) for m in group.get_measurements()
  ]


def evaluations(group):
  return [
    (one.name.value, one.value.value)
    for one in group.get_qualitative_evaluations()
  ]


def texts(dataset):
  """All texts of a report."""
  own = [dataset.TextValue] if 'TextValue' in dataset else []
  parts = dataset.get('ContentSequence', ())
  return own + [text for part in parts for text in texts(part)]


def test_a_report_has_the_age_and_its_interval_in_months(tmp_path):
  report, _ = write(tmp_path, KINDS['sure'])
  (group,) = groups_of(report)
  assert ages(group) == [
    ('XR Bone age', 100, 'mo'),
    ('Lower end of the 80 % interval of the bone age', 95, 'mo'),
    ('Upper end of the 80 % interval of the bone age', 105, 'mo'),
    ('Lower end of the 90 % interval of the bone age', 90.25, 'mo'),
    ('Upper end of the 90 % interval of the bone age', 110.5, 'mo'),
  ]
  first = group.get_measurements()[0]
  name = first.name
  assert (name.value, name.scheme_designator, name.meaning) == AGE
  assert first.unit.scheme_designator == 'UCUM'
  assert evaluations(group) == [
    ('STATUS', 'CHECK'), ('FLAG', 'POLARITY'), ('FLAG', 'FOR_PROCESSING'),
    ('121032', 'F'),
  ]  # fmt: skip
  site = group.finding_sites[0]
  assert (site.value.meaning, site.laterality.meaning) == ('Hand', 'Left')
  (source,) = group.source_images
  assert (
    source.referenced_sop_instance_uid == dicom_tools.TAGS['SOPInstanceUID']
  )
  said = texts(report)
  for text in (
    *('cascade:phantom, assessor', '0.1.0', 'For research, not for diagnosis.'),
    'The film does not show a hand: give a film of one hand',
  ):
    assert text in said
  assert any('ages of real films are meaningless' in text for text in said)


def test_a_report_is_preliminary_and_stands_in_the_study_of_the_film(tmp_path):
  for dataset in write(tmp_path, KINDS['sure']):
    for keyword in (
      *('StudyInstanceUID', 'PatientID', 'PatientName', 'PatientBirthDate'),
      *('PatientSex', 'StudyDate', 'StudyTime', 'StudyID', 'AccessionNumber'),
      *('StudyDescription', 'IssuerOfPatientID'),
    ):
      assert str(dataset[keyword].value) == dicom_tools.TAGS[keyword]
    assert dataset.SeriesInstanceUID != dicom_tools.TAGS['SeriesInstanceUID']
    assert dataset.ManufacturerModelName == 'boneage_jax'
    assert 'for research' in dataset.SeriesDescription
  report, picture = write(tmp_path, KINDS['sure'])
  assert (report.CompletionFlag, report.VerificationFlag) == (
    'PARTIAL', 'UNVERIFIED',
  )  # fmt: skip
  assert report.PreliminaryFlag == 'PRELIMINARY'
  assert report.ContentTemplateSequence[0].TemplateIdentifier == '1500'
  (study,) = report.CurrentRequestedProcedureEvidenceSequence
  (series,) = study.ReferencedSeriesSequence
  assert series.SeriesInstanceUID == dicom_tools.TAGS['SeriesInstanceUID']
  (one,) = series.ReferencedSOPSequence
  assert one.ReferencedSOPInstanceUID == dicom_tools.TAGS['SOPInstanceUID']
  (source,) = picture.SourceImageSequence
  assert source.ReferencedSOPInstanceUID == one.ReferencedSOPInstanceUID


def test_reports_of_the_same_nets_have_one_observer(tmp_path):
  def observer(**changes):
    report, _ = write(tmp_path, KINDS['sure'], **changes)
    return next(
      x.UID for x in report.ContentSequence if x.ValueType == 'UIDREF'
    )

  other = dicom_tools.film(SOPInstanceUID='1.2.3.9')
  assert observer() == observer(data=other)
  assert observer() != observer(settings={**SETTINGS, 'model': 'b'})


def test_of_an_unknown_sex_both_ages_are_said(tmp_path):
  report, _ = write(tmp_path, KINDS['unknown'])
  either, male, female = groups_of(report)
  assert [age for _, age, _ in ages(either)] == [100, 80, 120]
  assert (ages(male), ages(female)) == (
    [('XR Bone age', 90, 'mo')],
    [('XR Bone age', 110, 'mo')],
  )
  found = [dict(evaluations(one))['121032'] for one in (either, male, female)]
  assert found == ['U', 'M', 'F']


@pytest.mark.parametrize('kind', ['refused', 'unreadable'])
def test_a_refused_film_gets_the_reason_and_no_age(tmp_path, kind):
  report, *picture = write(tmp_path, KINDS[kind])
  (group,) = groups_of(report)
  assert ages(group) == []
  assert ('STATUS', 'REFUSED') in evaluations(group)
  assert (('FLAG', 'NOT_A_HAND') in evaluations(group)) == (kind == 'refused')
  assert WHY[1:] in ''.join(texts(report))
  assert '100' not in ''.join(texts(report))
  assert len(picture) == (kind == 'refused')


def test_a_picture_says_side_and_annotation_as_the_film_does(tmp_path):
  _, picture = write(tmp_path, KINDS['sure'])
  assert (picture.Modality, picture.Laterality) == ('OT', 'L')
  assert (picture.BurnedInAnnotation, picture.BodyPartExamined) == (
    'NO',
    'HAND',
  )
  np.testing.assert_array_equal(picture.pixel_array[:440], PICTURE)
  assert len(picture.pixel_array) > 440  # the caption
  silent = dicom_tools.film(
    *(), Laterality=None, BurnedInAnnotation=None, SOPInstanceUID='1.2.3.7'
  )
  _, picture = write(tmp_path, KINDS['sure'], data=silent)
  assert 'BurnedInAnnotation' not in picture
  assert picture.Laterality == ''
  right = dicom_tools.film(ImageLaterality='R', SOPInstanceUID='1.2.3.8')
  assert write(tmp_path, KINDS['sure'], data=right)[1].Laterality == 'R'


def test_an_object_is_written_once_and_its_uid_follows_from_its_content(
  tmp_path,
):
  write(tmp_path, KINDS['sure'])
  before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
  assert all(name.startswith('2.25.') for name in before)
  time.sleep(0.01)
  write(tmp_path, KINDS['sure'])  # at another time
  after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
  assert after == before
  for changes in (
    {'prediction': made(sex='M')},
    {'settings': {**SETTINGS, 'model': 'b'}},
    {'settings': {**SETTINGS, 'site': {'site': 'north'}}},
    {'settings': {**SETTINGS, 'version': '0.2.0'}},
    {'data': dicom_tools.film(SOPInstanceUID='1.2.3.9')},
    # The same film, corrected; an archive keeps its UID.
    {'data': dicom_tools.film(PatientName='Miller^Ann')},
    {'data': dicom_tools.film(PatientID='43')},
    {'data': dicom_tools.film(PatientBirthDate='20110203')},
    {'data': dicom_tools.film(Laterality='R')},
    {'data': dicom_tools.film(dicom_film.RAMP[::-1])},
    {'data': dicom_tools.film(WindowCenter=500, WindowWidth=200)},
    {'data': dicom_tools.film(ImagerPixelSpacing=[0.2, 0.1])},
    {'data': dicom_tools.film(VOILUTSequence=[table(1)])},
    {'data': dicom_tools.film(VOILUTSequence=[table(2)])},
    {'prediction': made(age_predicted=101.0)},
    {'prediction': made(intervals={80: (95.0, 106.0), 90: (90.25, 110.5)})},
    {'prediction': made(chronological_age=96.0)},
    {'prediction': made(chronological_age=96.0, sds=0.4)},
    {'prediction': made(quality_flags=('polarity',))},
    {'said': ('another reason',)},
  ):
    known = set(os.listdir(tmp_path))
    write(tmp_path, **{'prediction': KINDS['sure'], **changes})
    assert len(set(os.listdir(tmp_path)) - known) == 2


@pytest.mark.parametrize('kind', list(KINDS))
def test_what_is_written_is_known_again_as_no_film(tmp_path, kind):
  write(tmp_path, KINDS[kind])
  for path in tmp_path.iterdir():
    data = path.read_bytes()
    assert dicom.is_own(data[: film_list.HEAD])
    with pytest.raises(ValueError, match='made by this program'):
      dicom.read(data)


def table(end):
  """A look-up table of as many numbers as are not shown in full."""
  item = pydicom.Dataset()
  item.LUTDescriptor = [300, 0, 16]
  item.LUTData = np.array([*range(299), end], np.uint16).tobytes()
  item['LUTData'].VR = 'OW'
  return item


def test_how_a_film_is_encoded_does_not_count(tmp_path):
  write(tmp_path, KINDS['sure'])
  known = set(os.listdir(tmp_path))
  film = pydicom.dcmread(io.BytesIO(dicom_tools.film()))
  film.StationName, out = 'PACS', io.BytesIO()  # what an archive may add
  film.file_meta.SourceApplicationEntityTitle = 'PACS'
  film.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
  film.save_as(out, implicit_vr=True, enforce_file_format=True)
  write(tmp_path, KINDS['sure'], data=out.getvalue())
  # As other machines and batches say it.
  close = [100 + x for x in (1e-5, -1e-5)]
  intervals = KINDS['sure'].intervals
  for age in close:
    one = made(
      age_predicted=age,
      intervals=intervals,
      quality_flags=KINDS['sure'].quality_flags,
    )
    write(tmp_path, one)
  assert set(os.listdir(tmp_path)) == known


LONG, LINES = 'x' * 70, 'a\nb'
ODD = {
  **{'PatientSex': 'X', 'Laterality': '?', 'BurnedInAnnotation': 'perhaps'},
  **{'StudyDate': '20210229', 'StudyTime': '99', 'PatientBirthDate': '2020'},
  **{'StudyID': LONG, 'AccessionNumber': LINES, 'ReferringPhysicianName': LONG},
  **{'BodyPartExamined': LONG, 'StudyDescription': LINES},
  **{'IssuerOfPatientID': LONG, 'SpecificCharacterSet': 'nonsense'},
}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('keyword', list(ODD))
def test_what_is_odd_in_a_header_is_left_out(tmp_path, keyword):
  data = dicom_tools.film(**{keyword: ODD[keyword]})
  for one in write(tmp_path, KINDS['sure'], data=data):
    assert one.PatientID == '42'
    if keyword != 'SpecificCharacterSet':
      assert not one.get(keyword)
  for path in tmp_path.iterdir():
    assert not dicom_tools.faults(path)[0]


def test_without_its_identifiers_a_film_gets_no_object(tmp_path):
  for keyword in dicom_source.UIDS:
    with pytest.raises(ValueError, match=f'Expected {keyword} in the DICOM'):
      write(tmp_path, KINDS['sure'], data=dicom_tools.film(**{keyword: None}))


@pytest.mark.parametrize('kind', list(KINDS))
def test_others_find_no_error(tmp_path, kind, capsys):
  paths = tmp_path / 'out'
  write(paths, KINDS[kind])
  for path in sorted(paths.iterdir()):
    errors, warnings = dicom_tools.faults(path)
    assert not errors
    strange = [x for x in warnings if 'Unrecognized defined term' not in x]
    assert not strange, strange
    assert all('<99BONEAGE>' in x for x in warnings), warnings
    damaged = path.read_bytes().replace(b'2.25.', b'2.x5.')
    bad = tmp_path / 'bad.dcm'
    bad.write_bytes(damaged)
    assert dicom_tools.faults(bad)[0]  # it can find some


def test_a_page_of_a_report_shows_each_number_under_its_name(tmp_path):
  write(tmp_path, KINDS['sure'])
  pages = []
  for path in tmp_path.glob('*.dcm'):
    if pydicom.dcmread(path).Modality == 'SR':
      text, errors = dicom_tools.html(path, tmp_path / 'page.html')
      assert 'E:' not in errors
      pages.append(text)
  (page,) = pages
  for words in ('XR Bone age', '85151-9', '100', 'UNVERIFIED', 'PARTIAL'):
    assert words in page
  assert 'J&uuml;rgens' in page or 'Jürgens' in page
