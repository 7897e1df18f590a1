"""A cascade that reads the chronological age, and tells the sex.

Nets are as they were born, but for heads that show what they read.
"""

import csv
import json
import shutil

import numpy as np
import pytest
import untrained_run

from boneage_jax import phantom
from boneage_jax import predict
from boneage_jax.core import config as config_lib
from boneage_jax.data import film_table
from boneage_jax.workflow import validate

pytestmark = pytest.mark.ci


def change(config):
  """Two folds; the net that locates and the one that tells read the age."""
  config.stages = ('prepare', 'localizer', 'regions', 'assessor')
  config.data.folds = 2
  for name in ('localizer', 'assessor'):
    config[name].net.extra_inputs = ('chronological_age',)
  config.assessor.net.extra_outputs = ('p_male',)
  config.assessor.loss = {'name': 'age_and_sex', 'sex_weight': 2.0}
  config.report.stage = 'assessor'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  top = tmp_path_factory.mktemp('extra')
  phantom.write_archive(
    str(top / 'manual'), 24, 0, long_side=256, workers=1, chronological_sd=24.0
  )
  return untrained_run.create(top, str(top / 'manual'), change)


def rows(path):
  with open(path, newline='') as file:
    return {row.get('id') or row['file']: row for row in csv.DictReader(file)}


def ages(made):
  """The chronological age and the sex of each film, as they were drawn."""
  listed = rows(made / 'manual/films.csv').values()
  name = lambda row: row['file'].rpartition('/')[2].removesuffix('.png')
  return {name(row): row for row in listed}


def test_new_films_get_what_the_folds_said_of_them(made, capsys):
  joined = rows(made / 'run/assessor/predictions.csv')
  test = {film: row for film, row in joined.items() if row['split'] == 'test'}
  folds = [
    rows(made / f'run/fold_{k}/assessor/predictions.csv') for k in range(2)
  ]
  for film, row in test.items():
    told = np.mean([float(one[film]['p_male']) for one in folds])
    assert float(row['p_male']) == pytest.approx(told, abs=2e-6)
  known = ages(made)
  films = list(test)[:3]
  table = made / 'table.csv'
  lines = [
    f'films/{film}.png,{known[film]["sex"]},{known[film]["chronological_age"]}'
    for film in films
  ]
  shutil.copy(made / f'films/{films[0]}.png', made / 'again.png')
  lines += ['again.png,M,']
  table.write_text('\n'.join(['file,sex,chronological_age', *lines]) + '\n')
  with pytest.raises(SystemExit) as stop:
    predict.main(
      [f'--workdir={made / "run"}', f'--table={table}', '--format=jsonl']
    )
  out, err = capsys.readouterr()
  assert stop.value.code == 1  # the last has no chronological age
  assert 'again.png: The chronological_age (months) is not known' in err
  said = [json.loads(line) for line in out.splitlines()]
  assert len(said) == len(films)
  for film, one in zip(films, said, strict=True):
    assert one['age_predicted'] == pytest.approx(
      float(test[film]['age_predicted']), abs=2e-3
    )
    assert one['p_male'] == pytest.approx(float(test[film]['p_male']), abs=1e-3)


def test_before_a_stage_begins_films_without_the_number_are_named(
  made, tmp_path
):
  folder = made / 'run/prepare/done.json'
  config = config_lib.read_config(str(made / 'run/config.json'))
  for data in json.loads(folder.read_text())['folders'].values():
    films = film_table.read_films(f'{data}/films.csv')
    assert np.isfinite(films['chronological_age']).all()
    films['chronological_age'][2] = np.nan
    film_table.write_films(f'{data}/films.csv', films)
  config.stages = ('localizer',)
  new = tmp_path / 'new'  # where no stage but this one is done
  shutil.copytree(made / 'run/prepare', new / 'prepare')
  with pytest.raises(ValueError, match=f'such as {films["id"][2]}: write it'):
    validate.check_films(config, str(new))
