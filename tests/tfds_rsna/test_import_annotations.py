"""The command: made files in, annotations that can be loaded out."""

import json

import dicom_film
from encode import encode
import numpy as np
import pytest

from boneage_jax.imaging import annotations
from boneage_jax.imaging import outlines
from tfds_rsna import import_annotations

RING = [(10.0, 20.0), (90.0, 20.0), (50.0, 180.0)]
SIZES = {'7': (200, 100), '8': (200, 100)}


def drawn(film='7', rings=(('hand', RING),), points=()):
  return outlines.Drawn(film, SIZES[film], list(rings), list(points), [])


def via(folder, *films):
  """A file of VIA, in which each film has an outline and its wrist."""
  xs, ys = zip(*RING, strict=True)
  shapes = [
    {'name': 'polygon', 'all_points_x': xs, 'all_points_y': ys},
    {'name': 'point', 'cx': 50, 'cy': 150},
    {'name': 'circle', 'cx': 1, 'cy': 2, 'r': 3},
  ]
  said = [{'what': 'hand'}, {'what': 'base'}, {}]
  regions = [
    {'shape_attributes': shape, 'region_attributes': one}
    for shape, one in zip(shapes, said, strict=True)
  ]
  path = folder / f'{"_".join(films)}.json'
  found = {f: {'filename': f'{f}.png', 'regions': regions} for f in films}
  path.write_text(json.dumps(found))
  return str(path)


def command(*words):
  import_annotations.main([str(word) for word in words])


def test_what_is_drawn_can_be_loaded(tmp_path, capsys):
  films, out = tmp_path / 'films', tmp_path / 'annotations'
  films.mkdir()
  pixels = np.random.default_rng(0).integers(0, 255, (200, 100), np.uint8)
  for film in ('0007', '0008', '0009'):
    (films / f'{film}.png').write_bytes(encode(pixels))
  words = (f'--out={out}', f'--films={films}', '--point=base=wrist')
  command(via(tmp_path, '0007', '0008'), *words)
  assert capsys.readouterr().out == (
    f'{out}: outlines of 2 films and points of 2 films. Other shapes are left '
    'out: 2 circle.\n'
  )
  found = annotations.load(out)
  assert set(found) == {'7', '8'}
  ring = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]
  assert found['7']['polygons'] == [{'exterior': ring, 'interior': []}]
  assert found['7']['keypoints'][0] == [0.5, 0.75]
  assert np.isnan(found['7']['keypoints'][1:]).all()
  # More films are added; those that are there are not lost, or replaced unseen.
  more = via(tmp_path, '0008', '0009')
  with pytest.raises(SystemExit, match=r'that it has, such as 8: replace the'):
    command(more, *words)
  assert annotations.load(out).keys() == found.keys()
  command(more, *words, '--replace')
  again = annotations.load(out)
  assert set(again) == {'7', '8', '9'}
  assert again['7'].keys() == found['7'].keys()
  assert again['7']['polygons'] == found['7']['polygons']


def test_without_the_films_a_size_is_asked_for(tmp_path):
  with pytest.raises(SystemExit, match=r'size of film 7, .* with --films=DIR'):
    command(via(tmp_path, '0007'), f'--out={tmp_path / "out"}')
  assert not (tmp_path / 'out').exists()


def test_nothing_drawn_is_said(tmp_path):
  path = tmp_path / 'empty.json'
  path.write_text(json.dumps({'images': [], 'annotations': []}))
  with pytest.raises(SystemExit, match="got none with the label 'hand'"):
    command(path, f'--out={tmp_path}', '--label=hand')
  with pytest.raises(SystemExit, match='No such file'):
    command(tmp_path / 'absent.json', f'--out={tmp_path}')


def test_a_label_chooses_the_outlines():
  both = [drawn(rings=[('hand', RING), ('arm', RING[::-1])])]
  found = import_annotations.polygons_of(both, SIZES, 'arm')
  assert found['7'][0] == [0.5, 0.9]
  with pytest.raises(ValueError, match=r'got hand \(1\), arm \(1\): choose'):
    import_annotations.polygons_of(both, SIZES)


def test_an_edge_that_is_just_left_is_the_edge():
  ring = [(-4.0, 0.0), (104.0, 0.0), (104.0, 209.0)]
  found = import_annotations.polygons_of([drawn(rings=[('', ring)])], SIZES)
  assert found['7'] == [[0, 0], [1, 0], [1, 1]]


def test_films_whose_pixels_are_not_square_tell_no_size(tmp_path):
  square = dicom_film.encoded()
  (tmp_path / '7.dcm').write_bytes(square)
  one = outlines.Drawn('7', None, [], [('wrist', (1.0, 2.0))], [])
  found = import_annotations.sizes_of([one], str(tmp_path))
  assert found['7'] == dicom_film.read().shape
  film = dicom_film.encoded(PixelSpacing=[2, 1])
  (tmp_path / '7.dcm').write_bytes(film)
  with pytest.raises(ValueError, match=r'film 7 .* pixels of .* not square'):
    import_annotations.sizes_of([one], str(tmp_path))


def test_each_file_has_its_own_copy_of_a_film():
  large = outlines.Drawn('7', (400, 200), [], [('wrist', (50.0, 100.0))], [])
  both = [drawn(), large]
  assert import_annotations.sizes_of(both) == {}
  ring = import_annotations.polygons_of(both, {})['7']
  assert ring[0] == [10 / 100, 20 / 200]
  points = import_annotations.points_of(both, {}, {})
  assert points['7'] == {'wrist': [50 / 200, 100 / 400]}


@pytest.mark.parametrize(
  ('rings', 'message'),
  [
    ([('hand', RING), ('hand', RING)], 'one outline of film 7, got two: remov'),
    (
      [('hand', [(10, 20), (90, 20), (150, 50)])],
      r'film 7 \(100 x 200 pixels\) to hold its outline, .* \(150, 50\): was',
    ),
    ([('hand', RING[:2])], 'film 7, got one of 2 points that encloses next to'),
  ],
)
def test_outlines_that_cannot_be_are_refused(rings, message):
  with pytest.raises(ValueError, match=message):
    import_annotations.polygons_of([drawn(rings=rings)], SIZES)


@pytest.mark.parametrize(
  ('points', 'message'),
  [
    ([('tip', (5, 5))], r"got 'tip' on film 7: .* --point=tip=NAME"),
    (
      [('wrist', (5, 5)), ('wrist', (6, 6))],
      'one point wrist of film 7, got',
    ),
    ([('wrist', (5, 900))], r'hold its point wrist, got a place at \(5, 900\)'),
  ],
)
def test_points_that_cannot_be_are_refused(points, message):
  with pytest.raises(ValueError, match=message):
    import_annotations.points_of([drawn(points=points)], SIZES, {})
