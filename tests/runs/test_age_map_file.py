"""Maps of ages that stages leave, of one run or of folds."""

import numpy as np

from boneage_jax.imaging import age_maps
from boneage_jax.runs import age_map_file

PLACES = age_maps.Places((64, 48), ((16, 20.0), (16, 24.0)), (0.5, 1, 40, 60))


def write(folder, ids, seed):
  rng = np.random.default_rng(seed)
  rows = {
    'id': np.array(ids),
    'age_map': rng.uniform(20, 200, (len(ids), 2, 3)).astype(np.float32),
    'deformation': rng.normal(size=(len(ids), 2, 3)).astype(np.float32),
    'age': np.zeros(len(ids)),
  }
  folder.mkdir()
  age_map_file.write(str(folder), rows, PLACES)
  return rows


def test_a_film_of_several_folds_has_the_mean_of_their_maps(tmp_path):
  first = write(tmp_path / 'a', ['7', 'test'], 0)
  second = write(tmp_path / 'b', ['8', 'test'], 1)
  found = age_map_file.read([str(tmp_path / 'a'), str(tmp_path / 'b')])
  assert set(found.ages) == {'7', '8', 'test'}
  np.testing.assert_array_equal(found.ages['8'], second['age_map'][0])
  mean = (first['age_map'][1] + second['age_map'][1]) / 2
  np.testing.assert_allclose(found.ages['test'], mean)
  assert set(found.deformation) == {'7', '8'}
  np.testing.assert_array_equal(found.deformation['7'], first['deformation'][0])
  assert found.places.size_hw == [64, 48] and found.places.box[2] == 40


def test_a_stage_without_maps_has_none(tmp_path):
  write(tmp_path / 'a', ['7'], 0)
  assert age_map_file.read([]) is None
  assert age_map_file.read([str(tmp_path / 'a'), str(tmp_path)]) is None
