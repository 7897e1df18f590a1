"""What data sets are called."""

import pytest

from tfds_rsna import archive
from tfds_rsna import naming

TEST = [str(i) for i in range(4360, 4560)]
OTHER = [str(i) for i in range(1377, 15613) if str(i) not in set(TEST)]
RELEASE = {'train': OTHER[:12611], 'validation': OTHER[12611:], 'test': TEST}
LABELS = {split: {'file': 'x', 'sha256': 'ab' * 32} for split in RELEASE}
COUNTS = {split: len(ids) for split, ids in RELEASE.items()}


def named(listed, counts=None, phantom=None):
  found = archive.Archive(
    *('/data/own', 'months', {}, [], LABELS, listed, {}, [], {}, phantom)
  )
  counts = counts or {split: len(ids) for split, ids in listed.items()}
  return found.describe(counts)


def test_the_release_is_known_by_its_ids_and_counts():
  assert COUNTS == {'train': 12611, 'validation': 1425, 'test': 200}
  assert named(RELEASE) == (
    'RSNA training, 12611 films; validation, 1425 films; test, 200 films',
    14236,
  )
  part = {**COUNTS, 'train': 12600}  # 11 films were bad
  text, whole = named(RELEASE, part)
  assert text.startswith('RSNA training, subset: 12600 of 12611 films; valid')
  assert whole == 14236


@pytest.mark.parametrize(
  'listed',
  [
    RELEASE['train'][:24],
    RELEASE['train'][:-1],
    [*RELEASE['train'][:-1], '99999'],
    [*RELEASE['train'][:-1], '4400'],  # a test film
    [*RELEASE['train'][:-1], 'P1'],
    [str(i) for i in range(12611)],  # as many, of somebody else
  ],
)
def test_other_films_go_by_folder_and_label_hash(listed):
  text = f'own training, {len(listed)} films, labels abababababab'
  assert named({'train': listed}) == (text, len(listed))


def test_each_split_has_its_own_owner():
  listed = {'train': RELEASE['train'], 'test': ['1', '2']}
  text = 'RSNA training, 12611 films; own test, 2 films, labels abababababab'
  assert named(listed) == (text, 12613)


def test_the_user_may_say_whose_films_they_are():
  info = {'name': 'own ...', 'splits': {'train': 24}, 'label_files': LABELS}
  info |= {'films': 24, 'of': 24, 'phantom': False}
  assert naming.rename(info, '') == info
  ours = naming.rename(info, 'RSNA')
  assert ours['name'] == 'RSNA training, subset: 24 of 12611 films'
  assert (ours['films'], ours['of']) == (24, 12611)
  theirs = naming.rename(info, 'RHPE')
  assert theirs['name'] == 'RHPE training, 24 films, labels abababababab'
  assert theirs['of'] == 24


def test_phantoms_stay_phantoms():
  assert named({'train': ['1']}, phantom={'seed': 3}) == (
    *('phantoms: 1 films (seed 3)', 1),
  )
  info = {'name': 'phantoms: 1 films (seed 3)', 'phantom': True}
  text = naming.rename(info, 'RSNA')['name']
  assert text == 'RSNA, phantoms: 1 films (seed 3)'
