"""Charts of the report."""

from boneage_jax.report import charts


def test_distribution_labels_stay_on_the_picture():
  for age, prediction in ((100, 100), (20, 200), (220, 218), (3, 1)):
    chart = charts.distribution(None, age, prediction, (0, 230))
    ends = {mark['anchor']: mark['label_x'] for mark in chart['marks']}
    assert 0 < ends['end'] < ends['start'] < charts.WIDTH
