"""Annotations: files to plain lists, and what a wrong file says."""

import json
import math

import pytest

from boneage_jax.imaging import annotations


def write(folder, name, *lines):
  (folder / name).write_text('\n'.join(lines) + '\n')


def test_every_file_comes_back_as_plain_lists(tmp_path):
  write(tmp_path, 'hand_boxes.csv', 'id,x0,y0,x1,y1', '7,0.1,0.2,0.8,0.9')
  write(
    tmp_path,
    'hand_keypoints.csv',
    'id,point,x,y',
    '7,wrist,0.5,0.8',
    '7,pinky_finger4,0.9,0.3',
  )
  write(
    tmp_path,
    'ossification_boxes.csv',
    'id,rater,label,x0,y0,x1,y1',
    '7,expert,DIP,0.1,0.1,0.2,0.2',
    '8,train,Wrist,0.3,0.6,0.6,0.8',
  )
  ring = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]
  hole = [[0.4, 0.4], [0.5, 0.4], [0.5, 0.5]]
  (tmp_path / 'hand_polygons.json').write_text(
    json.dumps({'8': [{'exterior': ring, 'interior': [hole]}]})
  )

  films = annotations.load(tmp_path)

  assert films.keys() == {'7', '8'}
  assert films['7']['hand_box'] == [0.1, 0.2, 0.8, 0.9]
  assert films['7']['boxes'] == [['expert', 'DIP', [0.1, 0.1, 0.2, 0.2]]]
  points = films['7']['keypoints']
  assert len(points) == len(annotations.POINTS) == 22
  assert points[0] == [0.5, 0.8]
  assert points[20] == [0.9, 0.3]
  assert all(
    math.isnan(v) for point in [*points[1:20], points[21]] for v in point
  )
  assert 'hand_box' not in films['8']
  assert films['8']['polygons'] == [{'exterior': ring, 'interior': [hole]}]
  assert json.loads(json.dumps(films['8'])) == films['8']


def test_fractures_have_a_study_a_finding_and_three_kinds_of_mask(tmp_path):
  write(
    tmp_path,
    'fracture_labels.csv',
    'id,study,finding',
    '7,3,radius',
    '8,3,radius',
    '9,4,none',
  )
  ring = [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]]
  masks = {'boxes': [[0.1, 0.1, 0.2, 0.2]], 'strokes': [ring[:2]]}
  (tmp_path / 'fracture_masks.json').write_text(
    json.dumps({'7': masks | {'polygons': [{'exterior': ring}]}, '8': masks})
  )
  films = annotations.load(tmp_path)
  assert [films[i]['study'] for i in '789'] == ['3', '3', '4']
  assert [films[i]['finding'] for i in '79'] == ['radius', 'none']
  assert films['7']['fracture'] == masks | {
    'polygons': [{'exterior': ring, 'interior': []}]
  }
  assert films['8']['fracture']['polygons'] == []
  assert 'fracture' not in films['9']


def test_missing_folder_is_no_annotation(tmp_path):
  assert annotations.load(tmp_path / 'nowhere') == {}


def test_small_overshoot_is_clipped(tmp_path):
  write(tmp_path, 'hand_boxes.csv', 'id,x0,y0,x1,y1', '7,-0.04,0,1.05,1')
  assert annotations.load(tmp_path)['7']['hand_box'] == [0, 0, 1, 1]


@pytest.mark.parametrize(
  ('name', 'lines', 'says'),
  [
    (
      'hand_boxes.csv',
      ('id,x0,y0,x1,y1', '7,10,20,800,900'),
      r"hand_boxes.csv, line 2, film 7: coordinate '10' is not a fraction",
    ),
    (
      'hand_boxes.csv',
      ('id,x0,y0,x1,y1', '7,0.5,0.1,0.4,0.9'),
      r'film 7: box \[0.5, 0.1, 0.4, 0.9\] is empty',
    ),
    (
      'hand_boxes.csv',
      ('id,x0,y0,x1,y1', '7,0,0,1,1', '7,0,0,1,1'),
      'film 7: a second hand box',
    ),
    (
      'hand_boxes.csv',
      ('id,left,top', '7,0,0'),
      'expected the columns id,x0,y0,x1,y1, found id,left,top',
    ),
    (
      'hand_boxes.csv',
      ('id,x0,y0,x1,y1', 'a b,0,0,1,1'),
      'an id without spaces',
    ),
    (
      'hand_keypoints.csv',
      ('id,point,x,y', '7,elbow,0.5,0.8'),
      "film 7: unknown point 'elbow'",
    ),
    ('hand_keypoints.csv', ('id,point,x,y', '7,wrist,0.5,nan'), 'nan'),
    (
      'ossification_boxes.csv',
      ('id,rater,label,x0,y0,x1,y1', '7,expert,Toe,0,0,1,1'),
      "film 7: unknown label 'Toe'; expected one of DIP",
    ),
    (
      'hand_polygons.json',
      ('{"7": [[[0, 0], [1, 1]]]}',),
      r'film 7: expected \[{"exterior"',
    ),
    (
      'fracture_labels.csv',
      ('id,study,finding', '7,a/b,none'),
      "film 7: Expected an id without spaces, .* got 'a/b'",
    ),
    (
      'fracture_masks.json',
      ('{"7": {"boxes": [[0.1, 0.2]]}}',),
      'film 7: expected {"polygons"',
    ),
    (
      'fracture_masks.json',
      ('{"7": {"strokes": [[[0.1, 20]]]}}',),
      'film 7: coordinate 20 is not a fraction',
    ),
  ],
)
def test_wrong_files_say_film_and_file(tmp_path, name, lines, says):
  write(tmp_path, name, *lines)
  with pytest.raises(ValueError, match=says):
    annotations.load(tmp_path)
