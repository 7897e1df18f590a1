"""A site's films, from the table to a correction that `predict` applies."""

import csv
import json
import types
import zipfile

import cv2
import fake_nets
import numpy as np
import pytest

from boneage_jax.core import config as config_lib
from boneage_jax.evaluation import adapt
from boneage_jax.inference import ensemble
from boneage_jax.inference import loading
from boneage_jax.inference import site
from boneage_jax.regions import localize

FILMS = 50


class Net:
  """Reads the mean grey of a film as its age."""

  batch_size, builder_config, inverted = 1, 'original', False
  inputs = ()
  sexes, places = ('M', 'F', 'unknown'), None

  def outputs(self, records, memo):
    from boneage_jax.imaging import codec

    images = [codec.decode_stored(record['image']) for record in records]
    films = [
      localize.Film('0', r['sex'], i, {})
      for r, i in zip(records, images, strict=True)
    ]
    return {'age': np.array([image.mean() for image in images])}, films


@pytest.fixture
def place(tmp_path, monkeypatch):
  """A run, whose net reads girls' ages as 0.9 x age + 6, and their films."""
  model = ensemble.Ensemble([Net()])
  monkeypatch.setattr(loading, 'load', lambda *args, **kwargs: model)
  config = {'format': config_lib.FORMAT, 'report': {'stage': 'net'}}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  rows, rng = [], np.random.default_rng(0)
  for k in range(FILMS):
    age = 30 + 4 * k
    grey = 0.9 * age + 6 if k % 2 else age + rng.normal(0, 3)
    film = np.full((8, 8), round(grey), np.uint8)
    film[:, ::2] += 1  # of one grey it would be no film
    cv2.imwrite(str(tmp_path / f'{k}.png'), film)
    rows.append({'file': f'{k}.png', 'sex': 'MF'[k % 2], 'age_true': age})
  return types.SimpleNamespace(folder=tmp_path, rows=rows, model=model)


def table(place, rows):
  path = place.folder / 'local.csv'
  with open(path, 'w', newline='') as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  return str(path)


def test_from_films_to_corrected_ages(place, capsys):
  run = str(place.folder)
  adapt.main([run, f'--table={table(place, place.rows)}', '--site=here'])
  said = capsys.readouterr().out
  assert 'girls: 25 films; predicted = 0.899 (0.89' in said
  assert 'predict --site=here' in said
  found = site.load(run, 'net', 'here')
  assert list(found['by_sex']) == ['F']
  place.model.site = found
  film = cv2.imread(str(place.folder / '41.png'), cv2.IMREAD_GRAYSCALE)
  girl = place.model.predict(film, 'F')
  assert girl.age_predicted == pytest.approx(30 + 4 * 41, abs=1.5)
  assert girl.site == 'here' and girl.hi90 - girl.lo90 < 5
  boy = place.model.predict(film, 'M')
  assert boy.age_predicted == pytest.approx(film.mean())
  both = place.model.predict(film, 'unknown')
  assert both.age_if_female == girl.age_predicted
  assert both.age_if_male == boy.age_predicted
  # Boys' ages stay, with the intervals of the site's boys.
  assert boy.site == '' and boy.lo90 is not None
  assert both.site == 'here (as a girl alone)'


def test_films_that_are_refused_say_nothing_of_a_site(place, capsys):
  first = cv2.imread(str(place.folder / '0.png'), cv2.IMREAD_GRAYSCALE)
  place.model.checks = fake_nets.FakeChecks(int(first[0, 0]))
  adapt.adapt(str(place.folder), table(place, place.rows), 'here')
  said = capsys.readouterr().out
  assert said.startswith('0.png is left out: refused, blank\n')
  found = site.load(str(place.folder), 'net', 'here')
  assert found['sexes']['M']['films'] == FILMS // 2 - 1
  assert found['sexes']['F']['films'] == FILMS // 2


def test_films_may_lie_in_an_archive(place):
  with zipfile.ZipFile(place.folder / 'films.zip', 'w') as file:
    for row in place.rows:
      file.write(place.folder / row['file'], f'in/{row["file"]}')
  plain = adapt.adapt(str(place.folder), table(place, place.rows), 'plain')
  rows = [{**r, 'file': f'films.zip/in/{r["file"]}'} for r in place.rows]
  packed = adapt.adapt(str(place.folder), table(place, rows), 'packed')
  assert {**packed, 'site': ''} == {**plain, 'site': ''}


def test_numbers_of_the_table_reach_the_nets(place):
  place.model.inputs, seen = ('chronological_age',), []
  outputs = place.model.outputs

  def watched(records, *rest):
    seen.extend(record['chronological_age'] for record in records)
    return outputs(records, *rest)

  place.model.outputs = watched
  rows = [row | {'chronological_age': row['age_true']} for row in place.rows]
  adapt.adapt(str(place.folder), table(place, rows), 'here')
  assert seen == [row['age_true'] for row in rows]


def test_a_sex_without_films_keeps_the_intervals_of_the_run(place):
  girls = [row for row in place.rows if row['sex'] == 'F']
  adapt.adapt(str(place.folder), table(place, girls), 'girls')
  place.model.site = site.load(str(place.folder), 'net', 'girls')
  film = cv2.imread(str(place.folder / '41.png'), cv2.IMREAD_GRAYSCALE)
  boy = place.model.predict(film, 'M')
  assert boy.site == '' and boy.lo90 is None


def test_what_cannot_be_adapted(place):
  run = str(place.folder)
  boys = [row for row in place.rows if row['sex'] == 'M']
  with pytest.raises(
    ValueError, match=r'No correction: .*beyond chance .boys '
  ):
    adapt.adapt(run, table(place, boys), 'here')
  assert not (place.folder / 'net').exists()
  odd = [
    (
      {'sex': 'unknown'},
      'expected films of known sex, got unknown of 0.png',
    ),
    ({'sex': 'X'}, "line 2, sex: 'X' is none of M, F, unknown"),
    ({'age_true': ''}, 'line 2, age_true: the cell is empty'),
    ({'file': 'gone.png'}, r'gone\.png: Cannot be read: .* leave it out'),
    ({'file': '1.png'}, r'line 3, file: 1\.png is the film of line 2, too'),
  ]
  for change, message in odd:
    rows = [{**place.rows[0], **change}, *place.rows[1:]]
    with pytest.raises(ValueError, match=message):
      adapt.adapt(run, table(place, rows), 'here')
  with pytest.raises(ValueError, match='Expected --site as letters, digits'):
    adapt.adapt(run, table(place, place.rows), '../up')
  with pytest.raises(ValueError, match=r'to be one of none yet, got .here.'):
    site.load(run, 'net', 'here')
