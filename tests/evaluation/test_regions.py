"""Errors of regions by puberty, of made-up runs with known errors."""

import csv
import json

import cv2
import fake_run
import numpy as np
import pytest

from boneage_jax.core import config as config_lib
from boneage_jax.evaluation import regions

KINDS = {'regression': 'unit', 'expectation': 'bins'}
# Months that a net is off, by kind; of the carpal bones more after puberty.
OFF = {'regression': 2.0, 'expectation': 4.0}
LATE = 20.0


def phase(age, sex):
  """METHODS' bounds, written out."""
  before, after = (84, 180) if sex < 0 else (108, 192)
  return ('before' if age < before else 'in' if age < after else 'after') + (
    ' puberty'
  )


def write_run(folder, sexes=('',), count=500):
  """Write a run; returns its folder and its films by id."""
  films = fake_run.films(count)
  sections = {}
  for region in ('hand', 'carpal'):
    for sex in sexes:
      for kind, output in KINDS.items():
        name = f'net{len(sections)}'  # what it is stands in its section
        of = np.isin(films['sex'], {'': (-1, 1), 'M': 1, 'F': -1}[sex])
        own = {column: values[of] for column, values in films.items()}
        fake_run.write(folder, own, noise=0, stage=name)
        _shift(folder / name / 'predictions.csv', region, OFF[kind])
        sections[name] = {
          'job': 'train',
          'task': 'age',
          'input': {
            'builder_config': '',
            'crops_from': 'register',
            'regions': [region],
            'sex': sex,
          },
          'net': {'output': output},
        }
  fake_run.write(folder, films, stage='whole')
  path = folder / 'config.json'
  config = json.loads(path.read_text())
  config['two'] = {
    'job': 'train',
    'input': {'builder_config': 'px', 'regions': ['hand', 'carpal']},
  }
  path.write_text(json.dumps(config | sections))
  return str(folder), films


def _shift(path, region, off):
  """Let predictions be off by `off`, carpal ones after puberty by LATE more."""
  with open(path, newline='') as file:
    rows = list(csv.DictReader(file))
  for row in rows:
    age, sex = float(row['age_true']), 1 if row['sex'] == 'M' else -1
    late = region == 'carpal' and phase(age, sex) == 'after puberty'
    row['age_predicted'] = age + off + late * LATE
  with open(path, 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('regions') / 'run'
  return write_run(folder, ('', 'M', 'F'))


def test_errors_are_where_they_were_made(run):
  folder, films = run
  result = regions.region_ages(folder)
  assert {net['kind'] for net in result['nets'].values()} == set(KINDS)
  assert len(result['nets']) == 12 and 'two' not in result['nets']
  with open(f'{folder}/net0/predictions.csv', newline='') as file:
    held = {row['id']: row['split'] for row in csv.DictReader(file)}
  counts = {}
  columns = (films[name].tolist() for name in ('id', 'age', 'sex'))
  for film, age, sex in zip(*columns, strict=True):
    key = held.get(film), 'M' if sex > 0 else 'F', phase(age, sex)
    counts[key] = counts.get(key, 0) + 1
  rows = {
    (split, row['region'], row['nets'], row['films']): row['cells']
    for split, of_split in result['splits'].items()
    for row in of_split
  }
  assert len(rows) == 2 * 2 * (3 + 1 + 1)
  measured = 0
  for (split, region, nets, who), cells in rows.items():
    assert who in ({nets} if nets else {'all', 'F', 'M'})
    for part in result['parts']:
      sexes = ('F', 'M') if who == 'all' else (who,)
      assert cells[part]['n'] == sum(
        counts.get((split, sex, part), 0) for sex in sexes
      )
      late = region == 'carpal' and part == 'after puberty'
      if cells[part]['n'] < regions.CELL_FILMS:
        assert set(cells[part]) == {'n'}
      else:
        measured += 1
        assert cells[part]['mae'] == pytest.approx(3 + late * LATE, abs=1e-3)
        np.testing.assert_allclose(
          cells[part]['mae_ci95'], cells[part]['mae'], atol=1e-6
        )
    all_ages = cells[regions.ALL]
    assert all_ages['n'] == sum(cells[part]['n'] for part in result['parts'])
  assert 0 < measured < 3 * len(rows)


def test_regions_are_judged_on_films_that_all_have(tmp_path):
  folder, _ = write_run(tmp_path / 'run', count=200)
  before = regions.region_ages(folder)
  path = tmp_path / 'run/net0/predictions.csv'
  lines = path.read_text().splitlines()
  path.write_text('\n'.join(lines[:-5]) + '\n')
  result = regions.region_ages(folder)
  assert result['left_out'] == {'': 5}
  total = lambda r: sum(
    row['cells'][regions.ALL]['n']
    for rows in r['splits'].values()
    for row in rows
    if row['films'] == 'all'
  )
  assert total(before) - total(result) == 2 * 5  # of both regions
  path.unlink()
  assert regions.region_ages(folder)['missing'] == ['net0']
  assert 'Without predictions: net0.' in regions.region_table(
    regions.region_ages(folder)
  )


def test_figure_and_table(run, tmp_path, capsys):
  folder, _ = run
  regions.main([folder, f'--out={tmp_path}', '--stages=six'])
  printed = capsys.readouterr().out
  result = json.loads((tmp_path / 'region_ages.json').read_text())
  assert result['parts'][3] == 'early and mid puberty'
  cell = result['splits']['test'][0]['cells']['early and mid puberty']
  assert f'3.00 [3.00 to 3.00] ({cell["n"]})' in printed
  few = result['splits']['test'][0]['cells']['infancy']
  assert 'mae' not in few and f' ({few["n"]}) ' in printed
  image = cv2.imread(str(tmp_path / 'region_ages.png'))
  assert min(image.shape[:2]) > 500 and image.std() > 5
  panels = regions.shown(result)
  assert [row['nets'] for row in panels['F']] == ['F', 'F']  # of own sex
  both = {
    'splits': {
      'validation': [row for row in result['splits']['test'] if not row['nets']]
    }
  }
  assert [row['region'] for row in regions.shown(both)['M']] == [
    *('hand', 'carpal'),
  ]


def test_a_run_without_regions(tmp_path):
  folder = fake_run.write(tmp_path / 'run', fake_run.films(40))
  assert (
    regions.nets_of_regions(config_lib.read_config(str(folder / 'config.json')))
    == {}
  )
  with pytest.raises(SystemExit, match=r'Error: Expected predictions .* of '):
    regions.main([str(folder)])
