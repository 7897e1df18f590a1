"""Accuracy of films and hands against counts by hand."""

import numpy as np
import pytest

from boneage_jax.evaluation import classification
from boneage_jax.training.tasks import classification as tasks_classification


def test_films_and_hands_are_counted():
  label = np.array([0, 0, 1, 1, 2, -1])
  study = np.array([7, 7, 8, 8, 9, 9])
  probability = np.array(
    [
      [0.6, 0.3, 0.1],  # right
      [0.4, 0.5, 0.1],  # wrong, but the hand is right: 1.0 against 0.8
      [0.1, 0.3, 0.6],  # wrong
      [0.3, 0.4, 0.3],  # right, but the hand is wrong: 0.7 against 0.9
      [0.0, 0.1, 0.9],  # right
      [1.0, 0.0, 0.0],  # nobody knows
    ]
  )
  found = classification.accuracy_summary(label, probability, study)
  assert (found['films'], found['studies']) == (5, 3)
  assert found['accuracy'] == pytest.approx(3 / 5)
  assert found['study_accuracy'] == pytest.approx(2 / 3)
  assert found['recall'] == [0.5, 0.5, 1.0] and found['counts'] == [2, 2, 1]
  assert found['most_frequent'] == pytest.approx(2 / 5)
  low, high = found['study_accuracy_ci95']  # Wilson's, of 2 in 3
  assert (low, high) == pytest.approx((0.2077, 0.9385), abs=1e-4)


def test_intervals_resample_hands():
  """Copies of the films of a hand are no further evidence."""
  rng = np.random.default_rng(0)
  label, right = np.zeros(200, int), rng.random(200) < 0.7
  probability = np.stack([right, ~right], -1).astype(float)
  study = np.arange(200)
  once = classification.accuracy_summary(label, probability, study)
  thrice = classification.accuracy_summary(
    np.repeat(label, 3), np.repeat(probability, 3, 0), np.repeat(study, 3)
  )
  for name in ('accuracy', 'accuracy_ci95', 'study_accuracy_ci95'):
    assert thrice[name] == pytest.approx(once[name], abs=1e-9)
  low, high = once['accuracy_ci95']
  sd = np.sqrt(0.7 * 0.3 / 200)
  assert high - low == pytest.approx(2 * 1.96 * sd, rel=0.15)


def test_error_leaves_out_the_unknown():
  outputs = {'probability': np.eye(3)[[0, 1, 2, 0]]}
  films = {'label': np.array([0, 2, 2, -1])}
  assert tasks_classification.error(outputs, films) == pytest.approx(1 / 3)
  with pytest.raises(ValueError, match='No validation film has a label'):
    tasks_classification.error(outputs, {'label': np.full(4, -1)})


def test_predictions_come_back(tmp_path):
  path = tmp_path / 'predictions.csv'
  path.write_text(
    'id,split,study,label,predicted,p_none,p_radius\n'
    '4,test,2,radius,none,0.6,0.4\n5,test,2,,radius,0.1,0.9\n'
  )
  rows = classification.read_predictions(str(path))
  assert rows['classes'] == ['none', 'radius']
  assert rows['label'].tolist() == [1, -1] and rows['study'].tolist() == [
    '2',
    '2',
  ]
  np.testing.assert_array_equal(rows['probability'], [[0.6, 0.4], [0.1, 0.9]])
  path.write_text('id,split,sex,age_true,age_predicted\n1,test,M,100,99\n')
  with pytest.raises(ValueError, match='Expected predictions of classes'):
    classification.read_predictions(str(path))
  with pytest.raises(ValueError, match='run the stage'):
    classification.read_predictions(str(tmp_path / 'none.csv'))


def test_table_has_a_row_for_each_class_with_films():
  label = np.array([0, 0, 2, 2])
  found = classification.accuracy_summary(
    label, np.eye(3)[[0, 2, 2, 2]], np.array([1, 1, 2, 3])
  )
  text = classification.classification_table(
    {
      'stage': 'net',
      'data': {'name': 'made up', 'split': 'by hand'},
      'classes': ['none', 'radius', 'ulna'],
      'splits': {'test': found},
    }
  )
  first, _, *lines = text.splitlines()
  assert first == 'net: made up; by hand'
  rows = {line[:24].strip(): line[24:].split() for line in lines}
  assert rows['test'][:3] == ['4', '75.0', '%']
  assert rows['none'] == ['2', '50.0', '%']
  assert rows['ulna'] == ['2', '100.0', '%']
  assert 'radius' not in rows


@pytest.mark.parametrize('number', ['nan', 'inf'])
def test_probabilities_that_are_no_numbers_are_refused(tmp_path, number):
  path = tmp_path / 'predictions.csv'
  path.write_text(
    'id,split,study,label,predicted,p_none,p_radius\n'
    f'4,test,2,radius,none,0.6,0.4\n5,test,2,,radius,{number},0.9\n'
  )
  with pytest.raises(ValueError, match=r'1 of 2 films .* as film 5: the net'):
    classification.read_predictions(str(path))
