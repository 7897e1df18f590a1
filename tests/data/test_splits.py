"""Tests of the split of films."""

import hashlib

import numpy as np
import pytest

from boneage_jax.data import splits as splits_lib


def table(ids, splits=None):
  ids = np.array(list(map(str, ids)))
  splits = np.array(splits or ['train'] * len(ids))
  return {'id': ids, 'split': splits}


def test_hash_split_is_by_sha256_of_the_id():
  ids = list(range(1000, 2000))
  names, text = splits_lib.assign(table(ids), 'hash', 0.1, 0.15)
  for film_id, name in zip(ids, names, strict=True):
    digest = int(hashlib.sha256(f'{film_id}'.encode()).hexdigest()[:16], 16)
    draw = digest / 2**64
    expected = 'train' if draw >= 0.25 else 'validation'
    assert name == ('test' if draw < 0.15 else expected)
  train, validation, test = (np.sum(names == n) for n in splits_lib.SPLITS)
  assert text == (
    'hash split of 1000 films by id: '
    f'{train} train, {validation} validation, {test} test'
  )
  assert 700 < train < 800


def test_hash_split_never_moves_a_film():
  ids = [1377, 1378, 1391, 1399, 15610]
  names, _ = splits_lib.assign(table(ids), 'hash')
  known = ['validation', 'train', 'test', 'validation', 'train']
  assert names.tolist() == known
  fewer, _ = splits_lib.assign(table(ids[::-2]), 'hash')
  assert fewer.tolist() == known[::-2]


def test_auto_takes_the_official_splits_when_complete():
  official = ['train', 'validation', 'test', 'train']
  names, text = splits_lib.assign(table([1, 2, 3, 4], official))
  assert names.tolist() == official
  assert text == 'official split of 4 films: 2 train, 1 validation, 1 test'
  _, text = splits_lib.assign(table([1, 2]))
  assert text.startswith('hash split of 2 films by id: ')


@pytest.mark.parametrize(
  'own, drawn', [('test', 'validation'), ('validation', 'test')]
)
def test_auto_never_trains_on_what_the_archive_holds_out(own, drawn):
  films = table(range(230), ['train'] * 200 + [own] * 30)
  names, text = splits_lib.assign(films, 'auto', 0.1, 0.15)
  assert (names[200:] == own).all() and not (names[:200] == own).any()
  # What is drawn is what a hash split draws, and never moves.
  hashed, _ = splits_lib.assign(table(range(200)), 'hash', 0.1, 0.15)
  assert ((names[:200] == drawn) == (hashed == drawn)).all()
  fewer, _ = splits_lib.assign(
    {name: column[::-3] for name, column in films.items()}, 'auto', 0.1, 0.15
  )
  assert fewer.tolist() == names[::-3].tolist()
  count = int(np.sum(hashed == drawn))
  sizes = {'train': 200 - count, own: 30, drawn: count}
  counts = ', '.join(f'{sizes[name]} {name}' for name in splits_lib.SPLITS)
  assert 10 < count < 50 and text == (
    f"the archive's own {own} films, {drawn} drawn from its training films by "
    f'id; of 230 films {counts}'
  )
  _, text = splits_lib.assign(films, 'hash', 0.1, 0.15)
  assert text.endswith(f" test, the archive's own {own} films among them")


def test_auto_draws_validation_by_hand():
  films = table(range(330), ['train'] * 300 + ['test'] * 30)
  films['study'] = (np.arange(330) // 3).astype(str)
  names, text = splits_lib.assign(films, 'auto', 0.2, 0.2)
  assert (names.reshape(-1, 3) == names.reshape(-1, 3)[:, :1]).all()
  assert set(names) == set(splits_lib.SPLITS) and ' by group; ' in text


def test_films_that_are_held_out_alone_are_not_trained_on():
  message = r'no training films, only validation and test films, .*split=hash'
  with pytest.raises(ValueError, match=message):
    splits_lib.assign(table([1, 2], ['test', 'validation']))


def test_splits_refuse_what_cannot_be():
  with pytest.raises(ValueError, match=r'no validation and no test .*=hash'):
    splits_lib.assign(table([1, 2]), 'official')
  with pytest.raises(ValueError, match=r"in two or more, such as \['2'\]"):
    splits_lib.assign(
      table([1, 2, 2, 3], ['train', 'validation', 'test', 'train'])
    )
  with pytest.raises(
    ValueError, match="'auto', 'official', 'hash' or 'chen500'"
  ):
    splits_lib.assign(table([1]), 'random')
  with pytest.raises(ValueError, match='sum below 1'):
    splits_lib.assign(table([1]), 'hash', 0.6, 0.6)


def test_chen500_holds_out_500_and_500_training_films():
  ids = (np.random.default_rng(0).permutation(14236) + 1377).astype(str)
  official = np.repeat(splits_lib.SPLITS, (12611, 1425, 200))
  films = {'id': ids, 'split': official}
  names, text = splits_lib.assign(films, 'chen500')
  assert text == (
    'split of Chen 2020 of 12611 training films: '
    '11611 train, 500 validation, 500 test'
  )
  sets = [set(ids[names == name]) for name in splits_lib.SPLITS]
  assert [len(s) for s in sets] == [11611, 500, 500]
  assert set.union(*sets) == set(ids[:12611])  # so no film is in two
  assert (names[12611:] == splits_lib.UNUSED).all()
  # Whatever the order of the films, and the same as ever.
  mixed = np.random.default_rng(1).permutation(len(ids))
  again, _ = splits_lib.assign(
    {k: v[mixed] for k, v in films.items()}, 'chen500'
  )
  assert (again == names[mixed]).all()
  key = lambda film: hashlib.sha256(f'chen500 {film}'.encode()).digest()[:8]
  ranked = sorted(ids[:12611].tolist(), key=key)
  assert sets[2] == set(ranked[:500]) and sets[1] == set(ranked[500:1000])
  # Folds deal what is not for test, and leave unused films alone.
  dealt = splits_lib.fold(films, names, 5, 0)
  for name in ('test', splits_lib.UNUSED):
    assert ((dealt == name) == (names == name)).all()


def test_chen500_of_a_small_archive_is_the_same_share():
  films = table(range(1035))
  names, text = splits_lib.assign(films, 'chen500')
  assert text == (
    'split of Chen 2020 of 1035 training films: 953 train, 41 validation, '
    '41 test, 41 in place of 500'
  )
  hands = films | {'study': (np.arange(1035) // 3).astype(str)}
  names, _ = splits_lib.assign(hands, 'chen500')
  assert (names.reshape(-1, 3) == names.reshape(-1, 3)[:, :1]).all()
  with pytest.raises(ValueError, match=r'none of 12; use .*=hash'):
    splits_lib.assign(table(range(12)), 'chen500')


def test_films_of_a_hand_stay_together():
  films = table(range(900)) | {'study': (np.arange(900) // 3).astype(str)}
  names, text = splits_lib.assign(films, 'hash', 0.2, 0.2)
  assert (names.reshape(-1, 3) == names.reshape(-1, 3)[:, :1]).all()
  assert set(names) == set(splits_lib.SPLITS) and text.startswith(
    'hash split of 900 films by group: '
  )
  alone, _ = splits_lib.assign(table(range(300)), 'hash', 0.2, 0.2)
  assert names[::3].tolist() == alone.tolist()
  official = table([1, 2, 3], ['train', 'validation', 'test'])
  with pytest.raises(ValueError, match=r"every group in one split, .*\['7'\]"):
    splits_lib.assign(official | {'study': np.array(['7', '7', '8'])})


def test_folds_deal_all_films_that_are_not_for_test():
  films = table(range(1000, 1400))
  names, _ = splits_lib.assign(films, 'hash', 0.1, 0.15)
  dealt = [splits_lib.fold(films, names, 5, k) for k in range(5)]
  validates = np.array([parts == 'validation' for parts in dealt])
  assert (validates.sum(0) == (names != 'test')).all()
  for parts in dealt:
    assert ((parts == 'test') == (names == 'test')).all()
    assert 50 < np.sum(parts == 'validation') < 90
  for film, place in zip(films['id'], validates.T, strict=True):
    digest = int(hashlib.sha256(f'fold {film}'.encode()).hexdigest()[:16], 16)
    assert not place.any() or np.argmax(place) == 5 * digest // 2**64
  every = splits_lib.fold(films, names, 5, -1)
  assert (every[names != 'test'] == 'validation').all()
  hands = films | {'study': (np.arange(1000, 1400) // 4).astype(str)}
  names, _ = splits_lib.assign(hands, 'hash', 0.1, 0.15)
  parts = splits_lib.fold(hands, names, 3, 1).reshape(-1, 4)
  assert (parts == parts[:, :1]).all()
  for count, index in ((1, 0), (5, 5), (5, -2)):
    with pytest.raises(ValueError, match=r'two folds or more.*data\.fold'):
      splits_lib.fold(films, names, count, index)


def test_some_films_are_chosen_by_their_ids():
  ids = np.arange(100, 160).astype(str)
  place = splits_lib.some(ids, 20)
  assert len(set(place)) == 20 and (np.diff(place) > 0).all()
  assert set(splits_lib.some(ids, 10)) <= set(place)
  again = ids[::-1]
  assert set(again[splits_lib.some(again, 20)]) == set(ids[place])
  assert len(splits_lib.some(ids, 99)) == len(splits_lib.some(ids)) == 60
  for count in (0, -1):
    with pytest.raises(ValueError, match=f'--films to be 1 or .*, got {count}'):
      splits_lib.some(ids, count)


def test_a_few_films_of_each_class():
  label = np.array([0] * 50 + [1] * 30 + [2] * 3 + [-1] * 20)
  films = {'id': np.arange(103).astype(str), 'label': label}
  five, ten = (splits_lib.few_per_class(films, n, seed=0) for n in (5, 10))
  counts = lambda keep: [int(np.sum(label[keep] == k)) for k in (0, 1, 2, -1)]
  assert counts(five) == [5, 5, 3, 0] and counts(ten) == [10, 10, 3, 0]
  assert not (five & ~ten).any()
  other = splits_lib.few_per_class(films, 10, seed=1)
  assert counts(other) == counts(ten) and (other != ten).any()
