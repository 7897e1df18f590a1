"""Which films a stage reads."""

import json

from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.data import film_table
from boneage_jax.data import groups
from boneage_jax.data import selection
from configs import common
from configs import system


def make(sex):
  config = system.base('sexes', '')
  config.net = common.train_stage(input=common.image_input(sex=sex))
  return config


@pytest.fixture
def workdir(prepared, tmp_path):
  (tmp_path / 'prepare').mkdir()
  (tmp_path / 'prepare' / 'done.json').write_text(
    json.dumps({'folders': {'original': prepared}})
  )
  return str(tmp_path)


def test_a_net_of_one_sex_reads_films_of_that_sex_alone(workdir):
  both = selection.stage_films(make(''), 'net', workdir)
  sexes = groups.sex_text(both['sex'])
  parts = []
  for sex in ('M', 'F'):
    films = selection.stage_films(make(sex), 'net', workdir)
    assert set(groups.sex_text(films['sex'])) == {sex}
    same = dict(zip(both['id'], both['split'], strict=True))
    assert [same[film] for film in films['id']] == films['split'].tolist()
    parts += films['id'].tolist()
  assert set(sexes) == {'M', 'F'} and sorted(parts) == sorted(both['id'])
  records = selection.stage_source(make('F'), 'net', workdir, films)
  assert {records[i]['sex'] for i in range(len(films['id']))} == {-1}


def test_a_run_of_an_earlier_version_is_of_both_sexes():
  films = {'sex': np.array([1, -1, 0], np.float32)}
  assert selection.of_sex(films, ConfigDict({'input': {}})) is films
  assert selection.of_sex(films, ConfigDict({'job': 'ensemble'})) is films


def test_a_sex_without_films_is_named(workdir, monkeypatch):
  nobody = lambda films, stage: {k: v[:0] for k, v in films.items()}
  monkeypatch.setattr(selection, 'of_sex', nobody)
  with pytest.raises(ValueError, match='net: expected films of the sex F, got'):
    selection.stage_films(make('F'), 'net', workdir)


def test_crops_have_the_labels_of_their_films(workdir, tmp_path):
  config = make('')
  config.data.classes = ('broken', 'sound')
  whole = selection.stage_films(config, 'net', workdir)
  whole['finding'] = np.resize(['sound', '', 'broken'], len(whole['id']))
  (tmp_path / 'regions').mkdir()
  (tmp_path / 'regions/done.json').write_text('{"crops": ["carpal"]}')
  film_table.write_films(str(tmp_path / 'regions/films.csv'), whole)
  config.net.input.update(builder_config='', crops_from='regions')
  films = selection.stage_films(config, 'net', workdir)
  expected = np.resize([1, -1, 0], len(whole['id']))
  np.testing.assert_array_equal(films['label'], expected)
  config.data.classes = ()
  assert 'label' not in selection.stage_films(config, 'net', workdir)
