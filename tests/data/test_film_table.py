"""Tables of films, of users' own."""

import pytest

from boneage_jax.data import film_table


def read(tmp_path, text, **flags):
  path = tmp_path / 'films.csv'
  path.write_bytes(text.encode())
  return film_table.read_listed(str(path), **flags)


def test_a_users_table(tmp_path):
  rows = read(
    tmp_path,
    'Films of 2024\nFILE;Sex;age_true;chronological_age;group;reader\n'
    'a.png;M;120,5;;Nord;x\nsub/b.dcm;Female;;99;;\nc.png;;0;;;\n',
  )
  assert rows == [
    film_table.Listed('a.png', 'M', 120.5, None, 'Nord'),
    film_table.Listed('sub/b.dcm', 'F', None, 99.0, ''),
    film_table.Listed('c.png', '', 0.0, None, ''),
  ]


@pytest.mark.parametrize(
  ('line', 'why'),
  [
    ('b.png,X,', "line 3: sex 'X', not M, F or unknown"),
    ('b.png,M,ten', "line 3: age_true 'ten', not 0 to 240 months"),
    ('b.png,M,241', "line 3: age_true '241'"),
    ('b.png,M,nan', "line 3: age_true 'nan'"),
    (',M,10', 'line 3: no file'),
    ('a.png,M,10', 'line 3: a.png stands in line 2, too'),
    ('b.png,M,10,x', 'line 3: more cells than the header'),
  ],
)
def test_wrong_cells_are_named(tmp_path, line, why):
  with pytest.raises(ValueError, match=r'films\.csv: line 3') as error:
    read(tmp_path, f'file,sex,age_true\na.png,M,10\n{line}\n')
  assert why in str(error.value)


def test_columns_and_rows_that_are_missing(tmp_path):
  with pytest.raises(ValueError, match='got no sex'):
    read(tmp_path, 'file,age_true\na.png,10\n')
  with pytest.raises(ValueError, match='got no age_true'):
    read(tmp_path, 'file,sex\na.png,M\n', needs=('age_true',))
  with pytest.raises(ValueError, match='line 2: no age_true'):
    read(tmp_path, 'file,sex,age_true\na.png,M,\n', needs=('age_true',))
  with pytest.raises(ValueError, match='films below the header'):
    read(tmp_path, 'file,sex\n')
