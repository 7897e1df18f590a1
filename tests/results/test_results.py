"""The tables of results/ keep their rules, and pages of docs/ are theirs."""

import csv
import importlib
import pathlib
import re
import shutil

import pytest

from results import build
from results import rows as rows_lib

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / 'results'
RUN = 'command commit superseded_by note'
COLUMNS = {
  'leaderboard.csv': 'config preset stage weights data_set split n mae lo hi '
  'rmse within12 girls boys validation_mae validation_lo validation_hi '
  f'parameters films_per_s minutes hardware {RUN}',
  'comparisons.csv': 'config preset question a b data_set split n difference '
  f'difference_lo difference_hi {RUN}',
  'ablations.csv': 'config preset stage question setting seed data_set split n '
  'metric value lo hi rmse within12 girls boys validation_value validation_lo '
  'validation_hi difference difference_lo difference_hi paper_mae_v1 '
  f'paper_mae_v2 parameters films_per_s minutes hardware {RUN}',
  'regions.csv': 'config preset stage region setting data_set split n measure '
  f'value {RUN}',
  'segmentation.csv': 'config preset stage setting data_set split n dice '
  'dice_lo dice_hi jaccard jaccard_lo jaccard_hi minutes hardware '
  f'{RUN}',
  'landmarks.csv': 'config preset stage setting data_set split n measure value '
  f'lo hi hardware {RUN}',
  'quality.csv': 'config preset check data_set split n input_size condition '
  'measure value command commit note',
  'speed.csv': 'config preset stage benchmark subject setting measure unit '
  'ours peer peer_value ratio hardware command commit note',
  'robustness.csv': f'config preset stage file data_set split n mae {RUN}',
  'calibration/coverage.csv': 'config preset stage data_set split n '
  'least_films_of_a_band level group covered lo hi width command commit note',
  'saliency/heat_maps.csv': 'config preset stage setting map data_set split n '
  'measure baseline unit value lo hi command commit note',
  'region_ages.csv': 'config preset data_set split region nets films part n '
  f'mae lo hi hardware {RUN}',
  'forest.csv': 'config preset landmarks data_set films rounds weighting '
  'passes measure value lo hi hardware command commit',
  'quality_checks.csv': 'config preset stage data_set split kind n flag '
  'refused checked named found found_lo found_hi hardware command commit',
  'fuzzing.csv': 'kind seed minutes n read refused workers_ended broken '
  'worst_seconds worst_megabytes hardware command commit',
  'active.csv': 'config preset data_set labelled seeds films dice_chosen '
  'dice_random difference difference_lo difference_hi hardware command commit',
  'sweep.csv': 'config preset stage data_set learning_rate seeds '
  'validation_mean validation_sd test_mean test_sd hardware command commit',
  'losses.csv': 'config preset stage loss seed data_set split n mae lo hi '
  'validation_mae validation_lo validation_hi difference difference_lo '
  'difference_hi hardware command commit',
  'feeding.csv': 'films stored_as augmented_on kb ms_a_film '
  'films_per_s_a_core cores_localizer cores_assessor hardware command commit',
  'tpus.csv': 'config stage chip size films memory_gib share_of_memory gflop '
  'traffic_gb estimate_ms share_of_peak films_per_s_a_chip compile_cpu_s '
  'hardware command commit',
  'accelerator.csv': 'what net input films films_per_s mfu_percent memory_gib '
  'first_step_s peer_films_per_s peer_mfu_percent peer_first_step_s ratio '
  'waiting_percent note hardware command commit',
  'killed_runs.csv': 'config job kills checkpoint files same differ seed '
  'hardware command commit',
}
ROBUSTNESS = (
  'name severity mae change bias_change moved flagged trusted_change '
  'change_ci95_low change_ci95_high bias_change_ci95_low bias_change_ci95_high'
)
# Rows of runs that no stage of the config makes.
OF_NO_STAGE = {('', 'sex_median'), ('best_thumbnails', 'ensemble')}


def test_the_page_is_that_of_the_tables():
  build.main(['--check'])
  page = build.DOCS / build.PAGES['page.md']
  text = page.read_text(encoding='utf-8')
  assert len(text.splitlines()) <= 150
  assert ', ,' not in text  # of an empty cell


@pytest.fixture
def copy(tmp_path, monkeypatch):
  """A folder of the tables that may be spoilt, in the place of the own."""
  folder = tmp_path / 'results'
  shutil.copytree(RESULTS, folder, ignore=shutil.ignore_patterns('__pycache__'))
  monkeypatch.setattr(rows_lib, 'FOLDER', folder)
  return folder


def spoil(folder, name, column, value, row=0):
  """Writes a cell; a value of None takes it away."""
  with open(folder / name, encoding='utf-8', newline='') as file:
    head, *rows = list(csv.reader(file))
  if value is None:
    rows[row].pop()
  else:
    rows[row][head.index(column)] = value
  with open(folder / name, 'w', encoding='utf-8', newline='') as file:
    csv.writer(file).writerows([head, *rows])


@pytest.mark.parametrize(
  ('name', 'column', 'value', 'message'),
  [
    ('leaderboard.csv', 'mae', '9,14', "row 2, column mae.*got '9,14'"),
    ('leaderboard.csv', 'mae', '1.0', 'row 2, column mae.*its interval'),
    (
      'comparisons.csv',
      'difference',
      '9',
      'row 2, column difference.*interval',
    ),
    ('ablations.csv', 'value', '0.1', 'row 2, column value.*interval'),
    ('quality.csv', 'value', 'many', 'row 2, column value.*number'),
    ('robustness/best_half_inception.csv', 'change', '99', 'row 2, column ch'),
    ('speed.csv', 'command', 'no.sh', 'row 2, column command.*no.sh'),
    ('regions.csv', 'note', None, 'row 2: expected as many cells'),
    ('leaderboard.csv', 'rmse', '99.9', 'results.md is stale'),
    ('robustness/best_half_inception.csv', 'change', '0.5', 'md is stale'),
  ],
)
def test_a_wrong_cell_is_caught(copy, name, column, value, message):
  spoil(copy, name, column, value)
  with pytest.raises(SystemExit, match=f'Error: .*{message}') as error:
    build.main(['--check'])
  assert 'stale' in message or name in str(error.value)


@pytest.mark.parametrize('name', COLUMNS)
def test_columns(name):
  with open(RESULTS / name, encoding='utf-8', newline='') as file:
    reader = csv.DictReader(file)
    rows = list(reader)
  assert reader.fieldnames == COLUMNS[name].split()
  assert rows
  assert all(re.fullmatch('[0-9a-f]{7}|', row['commit']) for row in rows)


def test_there_is_no_other_table():
  names = {path.relative_to(RESULTS) for path in RESULTS.rglob('*.csv')}
  names = {n.as_posix() for n in names if n.parts[0] != 'predictions'}
  runs = {
    f'robustness/{row["file"]}' for row in rows_lib.read('robustness.csv')
  }
  assert names == {*COLUMNS, *runs}
  for name in runs:
    rows = rows_lib.read(name)
    assert list(rows[0]) == ROBUSTNESS.split()
    assert len(rows) == 38


def config_of(row):
  module = importlib.import_module(f'configs.{row["config"]}')
  return module.get_config(row['preset'])


def test_current_rows_are_those_of_the_configs():
  rows = rows_lib.read('leaderboard.csv')
  current = [row for row in rows if not row['superseded_by']]
  names = {(*place(row), row['data_set'], row['split']) for row in current}
  assert len(names) == len(current)
  for row in current:
    assert row['n'] and row['mae'], row
    assert row['weights'] in ('imagenet', 'random', 'file', ''), row
    if not {('', row['stage']), (row['config'], row['stage'])} & OF_NO_STAGE:
      assert row['stage'] in config_of(row), row
  stages = {named(row) for row in current}
  assert {r['superseded_by'] for r in rows} - {''} <= stages


def place(row):
  return row['config'], row['preset'], row['stage']


def named(row):
  config, preset, stage = place(row)
  return f'{config}:{preset} {stage}' if preset else f'{config} {stage}'


def test_tables_agree():
  """A figure that stands in two tables, or is a difference of two rows."""
  keys = ('data_set', 'split', 'command')
  mae = {
    (*place(row), *(row[k] for k in keys)): row['mae']
    for row in rows_lib.read('leaderboard.csv')
    if not row['superseded_by']
  }
  twice = 0
  for row in rows_lib.read('ablations.csv'):
    key = (*place(row), *(row[k] for k in keys))
    own = row['setting'].startswith('default') and row['metric'] == 'mae'
    if own and key in mae and row['value'] and 'averaged' not in row['note']:
      assert row['value'] == mae[key], row
      twice += 1
  assert twice >= 6
  differences = 0
  for row in rows_lib.read('comparisons.csv'):
    ends = [
      mae.get((row['config'], row['preset'], stage, *(row[k] for k in keys)))
      for stage in (row['a'], row['b'])
    ]
    if all(ends) and not row['note'] and not row['superseded_by']:
      expected = float(ends[0]) - float(ends[1])
      assert float(row['difference']) == pytest.approx(expected, abs=0.011), row
      differences += 1
  assert differences >= 12


def test_findings_name_files_that_exist():
  pages = sorted((ROOT / 'docs/explanation').glob('*.md'))
  linked = re.findall(r'explanation/([\w-]+\.md)', build.page('page.md'))
  assert len(linked) >= 16
  assert set(linked) <= {page.name for page in pages}
  for page in [path for path in pages if path.name in linked]:
    text = page.read_text(encoding='utf-8')
    assert '\nFigures: `results/' in text, page
    for name in re.findall(r'results/[\w./]+\.(?:csv|sh|py)', text):
      assert (ROOT / name).is_file(), f'{page.name}: {name}'
