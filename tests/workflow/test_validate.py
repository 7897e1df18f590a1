"""What would only fail hours later fails before the first stage."""

import json

import fake_jobs
from ml_collections import ConfigDict
import numpy as np
import pytest
import tiny_cascade

from boneage_jax.data import selection
from boneage_jax.runs import lineage
from boneage_jax.workflow import run as workflow_run
from boneage_jax.workflow import validate
from configs import attention_ldl
from configs import best
from configs import guided
from configs import hand_geometry
from configs import registration


def config(**changes):
  """The tiny cascade with `section__field=value` changed."""
  value = tiny_cascade.get_config()
  change(value, **changes)
  return value


def change(value, **changes):
  for path, new in changes.items():
    *outer, last = path.split('__')
    section = value
    for name in outer:
      section = section[name]
    with section.unlocked():
      section[last] = new


REFUSED = {
  # Stages that name each other.
  r"Expected --config\.stages to name some of .*; got 'regoins'": dict(
    stages=('prepare', 'regoins')
  ),
  r"report\.stage to name a stage with .* got 'asessor' \(no stage": dict(
    report__stage='asessor'
  ),
  r"crops_from to name .* the job locate or .*, got 'localizer'": dict(
    assessor__input__crops_from='localizer'
  ),
  r"localizer to name a stage with the job train, got 'regions' \(loc": dict(
    regions__localizer='regions'
  ),
  r"init_from\.run to name .* train or mine or active, got 'regions'": dict(
    assessor__init_from__run=':regions'
  ),
  r'report\.published as .stage, what it is, .* got .*6\.2, .RSNA': dict(
    report__published=(('assessor', 'flat', (6.2, 'RSNA', 'Li')),),
  ),
  r'report\.paper to name whom report\.published quotes, got none': dict(
    report__paper=''
  ),
  r"report\.published to name stages, got 'asessor' for 'net'": dict(
    report__published=(('asessor', 'net', ((6.2, 'RSNA', 'Li'),)),),
  ),
  r"'assessor', which report\.stage names, to run before report": dict(
    stages=('prepare', 'localizer', 'regions', 'report')
  ),
  r"'localizer', which regions\.localizer names, to run before reg": dict(
    stages=('prepare', 'regions', 'localizer')
  ),
  # Films.
  r'data\.split to be one of .*; got .half.: change --config': dict(
    data__split='half'
  ),
  r'a sum below 1, got 0\.6 and 0\.4': dict(
    data__validation_fraction=0.6, data__test_fraction=0.4
  ),
  r'raise --config\.data\.validation_fraction': dict(
    data__validation_fraction=0.0
  ),
  r'data\.age_unit to be one of months, years; got .days.: change': dict(
    data__age_unit='days'
  ),
  r"age_unit='months' for phantoms, got 'years': give": dict(
    data__age_unit='years'
  ),
  r'the number of folds for data\.fold=1, got none': dict(data__fold=1),
  r'a fold from 0 to one less .* data\.folds=3 and data\.fold=3': dict(
    data__folds=3, data__fold=3
  ),
  r'name them with --config\.data\.classes': dict(data__labelled_per_class=5),
  # Nets.
  r'checkpoint_selection to be one of best, last; got .first.': dict(
    assessor__checkpoint_selection='first'
  ),
  r'assessor: Expected a task among': dict(assessor__task='sex'),
  r"assessor: net\.dtype='float16' is none that nets are trained in": dict(
    assessor__net__dtype='float16'
  ),
  r"assessor: optimizer\.schedule='linear' is unknown": dict(
    assessor__optimizer__schedule='linear'
  ),
  r'assessor: .*loss\.name=.l2': dict(assessor__loss__name='l2'),
  r'assessor: [Ee]xpected tta\.rotate to hold one angle': dict(
    assessor__tta__rotate=()
  ),
  r'assessor\.input\.polarity to be one of keep, invert': dict(
    assessor__input__polarity='negative'
  ),
  r"assessor\.input: Expected resize 'squash' or 'letterbox'": dict(
    assessor__input__resize='stretch'
  ),
  r'assessor\.input\.percentiles to be \(\) or two': dict(
    assessor__input__percentiles=(99.0, 1.0)
  ),
  r'films or crops to read, got assessor\.input\.builder_config': dict(
    assessor__input__builder_config='original'
  ),
  r'builder_config to be one of original.*; got .px1024.': dict(
    localizer__input__builder_config='px1024'
  ),
  r'batch_size to be divisible by 4 devices, got 10 films': dict(
    assessor__batch_size=10
  ),
  r'to train for epochs or steps, or to take the net': dict(assessor__epochs=0),
  r"assessor: There is no weight file '/nowhere/resnet\.h5'": dict(
    assessor__net__carpal__depth=50,
    assessor__net__metacarpal__depth=50,
    assessor__pretrained__carpal__path='/nowhere/resnet.h5',
  ),
  r"assessor: .* has no endpoint 'stage9'": dict(
    assessor__net__carpal__endpoint='stage9'
  ),
  r'assessor\.init_from\.run=.runs/none:net. names no net': dict(
    assessor__init_from__run='runs/none:net'
  ),
  r'assessor: :localizer is another net: .* arrays differ': dict(
    assessor__init_from__run=':localizer'
  ),
  r'localizer\.net\.output to be bins, .* got .classes.': dict(
    localizer__net__pool='cam',
    localizer__net__classes=4,
    localizer__net__output='classes',
  ),
  r'assessor\.loss\.name=.*This loss needs `logits`': dict(
    assessor__net__output='scalar'
  ),
  r"assessor\.net\.readout='expectation' with the loss 'mae', got 'arg": dict(
    assessor__net__readout='argmax', assessor__loss__name='mae'
  ),
  r"localizer\.net\.readout='argmax' with the loss 'soft_label', got 'e": dict(
    localizer__loss__name='soft_label'
  ),
  r'localizer: guidance\.mask=.* must be a tuple of some': dict(
    localizer__guidance__mask=('elbow',)
  ),
  r'kinds of masks in localizer\.guidance\.mask': dict(
    localizer__guidance__weight=1.0
  ),
  r"localizer: .*one of .*'bicubic'": dict(
    localizer__guidance__resample='linear'
  ),
  r'assessor to be an age_net of whole films': dict(
    assessor__guidance__mask=('hand_box',)
  ),
  # Regions.
  r"regions\.target='age', got localizer\.net\.readout='argmax'": dict(
    localizer__net__readout='argmax'
  ),
  r'regions\.target to be one of .*; got .logit': dict(regions__target='logit'),
  r'one regions\.threshold for each of': dict(regions__threshold=(0.3,)),
  r'regions: The threshold is a fraction': dict(regions__threshold=(30, 0.3)),
  r"regions: component is 'peak' or 'largest'": dict(regions__component='all'),
  r"regions: fill is 'black' or": dict(regions__fill='white'),
  r'regions\.crops among carpal, .*; got thumb': dict(
    regions__crops=('carpal', 'thumb')
  ),
  r'regions among the crops of regions, carpal; got metacarpal': dict(
    regions__crops=('carpal',),
    assessor__input__regions=('carpal', 'metacarpal'),
  ),
  r'assessor\.input\.crop_margin=0\.15 and regions\.crop_margin=0\.3': dict(
    regions__crop_margin=0.3
  ),
}


@pytest.mark.parametrize('message', REFUSED)
def test_refused_before_any_stage(message, monkeypatch, prepared, tmp_path):
  ran = fake_jobs.replace(monkeypatch, prepared)
  with pytest.raises(ValueError, match=message):
    workflow_run.run(config(**REFUSED[message]), str(tmp_path / 'run'))
  assert not ran and not (tmp_path / 'run').exists()


def test_members_and_their_weights(tmp_path):
  value = best.get_config('phantom')
  for message, changes in (
    (r'weights to be one of mean, mae, mse', dict(ensemble__weights='best')),
    (r'two or more ensemble\.members', dict(ensemble__members=('assessor',))),
    (
      r'orientation_from to name a stage with the task orientation, got .inc',
      dict(resnet18__input__orientation_from='inception'),
    ),
  ):
    one = ConfigDict(value.to_dict())
    change(one, **changes)
    with pytest.raises(ValueError, match=message):
      validate.validate(one, str(tmp_path))


def test_what_is_painted_over_lost_the_same_borders(tmp_path):
  value = attention_ldl.get_config('phantom')
  change(value, data__crop_borders=True)
  validate.validate(value, str(tmp_path))
  change(value, r2_localizer__input__builder_config='px512')
  message = "got 'px512' and 'original', which may lose other borders"
  with pytest.raises(ValueError, match=message):
    validate.validate(value, str(tmp_path))


def test_what_is_painted_over_was_found_on_films_turned_alike(tmp_path):
  names = ('hand_localizer', 'r1_localizer', 'r2_localizer')
  for odd in names:
    value = attention_ldl.get_config('phantom')
    net = best.get_config('phantom').orientation.to_dict()
    stages = ('prepare', 'orientation', *value.stages[1:])
    change(value, orientation=ConfigDict(net), stages=stages)
    for name in names:
      change(value, **{f'{name}__input__orientation_from': 'orientation'})
    validate.validate(value, str(tmp_path))
    change(value, **{f'{odd}__input__orientation_from': ''})
    message = rf'see films turned alike, got .*--config\.{odd}\.input\.orient'
    with pytest.raises(ValueError, match=message):
      validate.validate(value, str(tmp_path))


def test_a_report_draws_regions_of_films_turned_alike(tmp_path):
  value = best.get_config('phantom')
  change(value, report__stage='resnet18')
  validate.validate(value, str(tmp_path))
  change(value, resnet18__input__orientation_from='')
  with pytest.raises(ValueError, match="by '' and by 'orientation': set"):
    validate.validate(value, str(tmp_path))


def test_classes_have_a_report_of_their_own(tmp_path):
  value = guided.get_config('fracture')
  validate.validate(value, str(tmp_path))
  change(value, report__job='report')
  with pytest.raises(ValueError, match=r'stages with the task age, got .class'):
    validate.validate(value, str(tmp_path))


def test_a_finished_stage_may_be_read(monkeypatch, prepared, tmp_path):
  ran = fake_jobs.replace(monkeypatch, prepared)
  workflow_run.run(config(), str(tmp_path))
  del ran[:]
  workflow_run.run(config(stages=('report',)), str(tmp_path))
  assert ran == ['report']


def test_a_stage_needs_prepared_data(tmp_path):
  with pytest.raises(ValueError, match="run the 'prepare' stage first"):
    workflow_run.run(config(stages=('localizer',)), str(tmp_path))


def test_prepared_data_are_those_that_all_stages_read(prepared, tmp_path):
  (tmp_path / 'prepare').mkdir()
  done = tmp_path / 'prepare' / 'done.json'
  done.write_text(json.dumps({'folders': {'original': prepared}}))
  value = config(assessor__input__builder_config='px512')
  change(value, assessor__input__crops_from='')
  with pytest.raises(ValueError, match=r"prepared as \['original'\], not as"):
    workflow_run.run(value, str(tmp_path))
  done.write_text(json.dumps({'folders': {'original': prepared + '/gone'}}))
  with pytest.raises(ValueError, match=r'gone is gone; remove .*done\.json'):
    workflow_run.run(config(), str(tmp_path))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      dict(assessor__batch_size=64),
      r'assessor: expected at least one batch of 64 films to train on, got',
    ),
    (
      dict(data__validation_fraction=0.001),
      r'localizer: expected validation films, got none: raise --config\.data',
    ),
  ],
)
def test_prepared_films_that_do_not_do(
  changes, message, monkeypatch, prepared, tmp_path
):
  ran = fake_jobs.replace(monkeypatch, prepared)
  with pytest.raises(ValueError, match=message):
    workflow_run.run(config(**changes), str(tmp_path))
  assert ran == ['prepare']
  # Other fractions or batches then go on in the same folder.
  workflow_run.run(config(), str(tmp_path))
  assert ran == ['prepare', 'localizer', 'regions', 'assessor', 'report']


def test_films_that_nobody_marked_do_not_train(tmp_path, monkeypatch):
  marks = ' '.join(hand_geometry.POINTS)
  films = {
    'id': np.arange(40).astype(str),
    'split': np.array(['train', 'validation'] * 20),
    'marks': np.array([marks] * 20 + ['thumb4'] * 20),
  }
  monkeypatch.setattr(selection, 'split_films', lambda *_: (films, ''))
  config = hand_geometry.get_config('phantom').unlock()
  config.stages = ('keypoints',)
  with pytest.raises(ValueError, match='batch of 16 films to train on, got 10'):
    validate.check_films(config, str(tmp_path))
  films['marks'][:] = 'thumb4'
  with pytest.raises(ValueError, match=r'no film has middle_finger4, capitate'):
    validate.check_films(config, str(tmp_path))


def test_nets_of_another_run_need_its_folder(tmp_path):
  config = registration.get_config('half')
  with pytest.raises(ValueError, match=r'^Expected --config\.geometry_run=RUN'):
    validate.validate(config, str(tmp_path))
  config.geometry_run = str(tmp_path / 'none')
  config.manual_dir = str(tmp_path)
  named = r"mine\.init_from\.run='.*/none:mine' names no net to start from"
  with pytest.raises(ValueError, match=named):
    lineage.parent_run(config, 'mine', str(tmp_path))
