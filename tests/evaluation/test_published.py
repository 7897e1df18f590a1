"""Figures of runs beside those of a paper."""

import types

from boneage_jax.evaluation import published

FIGURES = {'n': 9, 'mae': 4.0, 'mae_ci95': [3.0, 5.0], 'rmse': 6.0}
REPORT = {
  'stage': 'b',
  'splits': {'test': FIGURES, 'validation': FIGURES | {'mae': 7.0}},
  'references': {'a': {'test': {'n': 9, 'mae': 8.0}}, 'sex_median': {}},
}
SECTION = types.SimpleNamespace(
  published=(('a', 'h', 6.3, None), ('b', 'h+r1', 5.4, 4.3))
)


def test_rows_and_their_table():
  rows = published.published_rows(REPORT, SECTION)
  assert rows[0] == {
    'stage': 'a',
    'row': 'h',
    'paper_v1': 6.3,
    'paper_v2': None,
    'test': {'n': 9, 'mae': 8.0},
  }
  assert rows[1]['test'] == {'n': 9, 'mae': 4.0, 'mae_ci95': [3.0, 5.0]}
  lines = published.published_table(rows).splitlines()
  assert lines[-2].split() == ['h', '9', '8.00', '6.3']
  assert lines[-1].split() == [
    'h+r1', '9', '4.00', '3.00', 'to', '5.00', '7.00', '5.4', '4.3'
  ]  # fmt: skip


def test_figures_of_other_films_name_their_films_and_source():
  cited = ((5.2, 'not said', 'Li 2023'), (6.0, '200 films', 'Larson 2017'))
  section = types.SimpleNamespace(cited=cited)
  lines = published.cited_table(REPORT, section).splitlines()
  assert lines[-4].split() == ['4.00', '9', 'test', 'films', 'ours']
  assert lines[-3].split() == ['7.00', '9', 'validation', 'films', 'ours']
  assert lines[-2].split() == ['5.20', 'not', 'said', 'Li', '2023']
  assert lines[-1].split()[-2:] == ['Larson', '2017']
