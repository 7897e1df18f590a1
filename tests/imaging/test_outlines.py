"""Files of three drawing programs, written by hand as they write them."""

import json

import pytest

from boneage_jax.imaging import outlines

RING = [(10.0, 20.0), (90.0, 20.0), (50.0, 180.0)]
FLAT = [10, 20, 90, 20, 50, 180]
COCO = {
  'images': [
    {'id': 5, 'file_name': 'films/0007.png', 'width': 100, 'height': 200},
    {'id': 6, 'file_name': '8.png', 'width': 50, 'height': 60},
  ],
  'categories': [{'id': 1, 'name': 'hand', 'keypoints': ['wrist', 'tip']}],
  'annotations': [
    {'image_id': 5, 'category_id': 1, 'segmentation': [FLAT]},
    {'image_id': 6, 'category_id': 1, 'bbox': [1, 2, 3, 4]},
    # The second point is one that nobody marked.
    {'image_id': 6, 'category_id': 1, 'keypoints': [25, 30, 2, 0, 0, 0]},
  ],
}
LABELME = {
  'imagePath': '..\\films\\0007.png',
  'imageHeight': 200,
  'imageWidth': 100,
  'shapes': [
    {'label': 'hand', 'shape_type': 'polygon', 'points': RING},
    {'label': 'wrist', 'shape_type': 'point', 'points': [[25, 30]]},
    {'label': 'x', 'shape_type': 'rectangle', 'points': [[1, 2], [3, 4]]},
  ],
}
REGIONS = [
  {
    'shape_attributes': {
      'name': 'polygon',
      'all_points_x': [10, 90, 50],
      'all_points_y': [20, 20, 180],
    },
    'region_attributes': {'seen': {'yes': True}, 'what': 'hand '},
  },
  {
    'shape_attributes': {'name': 'point', 'cx': 25, 'cy': 30},
    'region_attributes': {'what': 'wrist'},
  },
  {'shape_attributes': {'name': 'circle', 'cx': 1, 'cy': 2, 'r': 3}},
]


def read(found):
  return outlines.read(json.dumps(found), 'a.json')


def test_coco():
  first, second = read(COCO)
  assert first == ('7', (200, 100), [('hand', RING)], [], [])
  assert second == ('8', (60, 50), [], [('wrist', (25.0, 30.0))], ['box'])


def test_labelme():
  (film,) = read(LABELME)
  points = [('wrist', (25.0, 30.0))]
  assert film == ('7', (200, 100), [('hand', RING)], points, ['rectangle'])


@pytest.mark.parametrize('kind', ['project', 'annotations', 'first version'])
def test_via_keeps_no_size(kind):
  regions = REGIONS
  if kind == 'first version':
    regions = {str(k): region for k, region in enumerate(REGIONS)}
  found = {'0007.png1234': {'filename': '0007.png', 'regions': regions}}
  if kind == 'project':
    found = {'_via_settings': {}, '_via_img_metadata': found}
  (film,) = read(found)
  points = [('wrist', (25.0, 30.0))]
  assert film == ('7', None, [('hand', RING)], points, ['circle'])


@pytest.mark.parametrize(
  ('found', 'message'),
  [
    ({'shapes': []}, 'LabelMe or VIA in a.json, got one with shapes'),
    ([], 'a.json, got one with no fields'),
    ({'film': 3}, 'got one with film'),
    ({**LABELME, 'shapes': [{'points': RING}]}, "not whole: KeyError 'label'"),
    ({**LABELME, 'imagePath': '.png'}, 'a.json: Expected the id of a film'),
    (
      {
        **COCO,
        'annotations': [
          {'image_id': 5, 'segmentation': {'counts': [1], 'size': [2, 3]}}
        ],
      },
      'got a run-length mask of film 7: export polygons',
    ),
  ],
)
def test_what_is_none_of_them_is_refused(found, message):
  with pytest.raises(ValueError, match=message):
    read(found)


def test_what_is_no_json_is_refused():
  with pytest.raises(ValueError, match=r'a\.csv, got none .*: export'):
    outlines.read('id,x,y\n', 'a.csv')
