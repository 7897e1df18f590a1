"""What a report shows of a run that registers films."""

import json
import re

import cv2
import numpy as np
import pytest
import registered_run

from boneage_jax.evaluation import regions
from boneage_jax.regions import registration_table
from boneage_jax.regions import review
from boneage_jax.report import hands as hands_lib
from boneage_jax.report import job


@pytest.fixture(scope='module')
def report(registered):
  """Figures and page of the report."""
  config = registered_run.tiny()
  job.report(config, 'report', str(registered))
  folder = registered / 'report'
  figures = json.loads((folder / 'report.json').read_text())
  return figures, (folder / 'report.html').read_text()


def film(_):
  return np.random.default_rng(0).integers(0, 255, (90, 60), np.uint8)


@pytest.fixture(scope='module')
def hands(registered):
  return hands_lib.read(registered_run.tiny(), 'all', str(registered))


def test_page_shows_masks_regions_and_their_errors(report, registered, hands):
  figures, page = report
  table = registration_table.read(str(registered / 'register/registration.csv'))
  every = figures['registration']['all']
  assert every['films'] == len(table)
  for status, count in every['status'].items():
    assert count == [one.status for one in table.values()].count(status)
  for title in ('Masks of hands', 'Registered films', 'Regions by puberty'):
    assert f'<h2>{title}</h2>' in page
  assert figures['region_ages'] == json.loads(
    json.dumps(regions.region_ages(str(registered)))
  )
  assert page.count(': with the outline of its mask.') >= 3
  shown = page.count(': with its regions.')
  assert shown and page.count(': metacarpal.') == shown
  for row in hands_lib.faults(hands):
    assert row[0] in page and row[1] != '0'
  text = re.sub(r'base64,[\w+/=]+', '', page)
  assert 'Errors by region, test' in text
  failed = figures['registration']['test']['status']['failed']
  assert ('were not registered' in text) == bool(failed)


def test_masks_are_chosen_by_their_overlap(hands):
  cards = hands_lib.mask_cards(hands, film)
  shares = {row['id']: float(row['mirror_iou']) for row in hands.mask_rows}
  reasons = {row['id']: row['reason'] for row in hands.mask_rows}
  of = lambda kind: [shares[card['id']] for card in cards[kind]]
  usable = [shares[film] for film, reason in reasons.items() if not reason]
  assert of('good') == sorted(usable)[::-1][: len(of('good'))]
  middle = sorted(usable)[len(usable) // 2]
  assert min(of('median')) <= middle <= max(of('median'))
  for card in cards['refused']:
    assert card['title'] == reasons[card['id']] != ''
    assert '% of the film' in card['text']
  (_, jpeg), *_ = cards['good'][0]['pictures']
  picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
  assert picture.shape == (440, 293, 3)


def test_films_are_shown_by_how_they_were_registered(hands):
  order = list(hands.table)
  cards = hands_lib.film_cards(hands, order, film)
  for status, said in hands_lib.SAID.items():
    of = [film for film in order if hands.table[film].status == status]
    found = [card['id'] for card in cards.get(said, ())]
    assert found == of[: hands_lib.PER_KIND]
  for crop, (height, width) in zip(
    hands.crops(order[0]), registered_run.SIZES, strict=True
  ):
    assert abs(crop.shape[0] - 1.2 * height) <= 2
    assert abs(crop.shape[1] - 1.2 * width) <= 2


def test_pictures_are_as_grey_as_the_nets_see_films(registered, hands):
  plain, inverted = registered_run.tiny(), registered_run.tiny()
  for name in ('mine', 'keypoints'):
    inverted[name].input.polarity = 'invert'
  shown = [
    job.report_inputs(config, 'report', str(registered))
    for config in (plain, inverted)
  ]
  one = next(iter(hands.table))
  bright, dark = (inputs.load_film(one) for inputs in shown)
  np.testing.assert_array_equal(dark, 255 - bright)
  for bright, dark in zip(
    *(inputs.hands.crops(one) for inputs in shown), strict=True
  ):
    np.testing.assert_array_equal(dark, 255 - bright)
  (_, bright), (_, dark) = (
    *review.pictures(plain, 'mine', str(registered), [one]),
    *review.pictures(inverted, 'mine', str(registered), [one]),
  )
  np.testing.assert_array_equal(dark, 255 - bright)


def test_other_runs_have_no_such_sections(hands):
  config = registered_run.tiny()
  assert hands_lib.read(config, 'mine', 'nowhere') is None
  found = dict(hands.counts['test'], status=dict(points=6, mask=1, failed=0))
  whole = hands_lib.alarms
  one = hands_lib.dataclasses.replace(hands, counts={'test': found})
  assert whole(one, 'test') == []
  found['status'] = dict(points=6, mask=0, failed=2)
  (said,) = whole(one, 'test')
  assert said.startswith(f'2 of {found["films"]} test films were not')
