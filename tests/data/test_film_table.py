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
    film_table.Listed('a.png', 'M', 120.5, {}, 'Nord', line=3),
    film_table.Listed(
      *('sub/b.dcm', 'F', None, {'chronological_age': 99.0}, ''), line=4
    ),
    film_table.Listed('c.png', '', 0.0, {}, '', line=5),
  ]


@pytest.mark.parametrize(
  ('line', 'why'),
  [
    ('b.png,X,', "line 3, sex: 'X' is none of M, F, unknown"),
    ('b.png,M,ten', "line 3, age_true: 'ten' is no number of months"),
    ('b.png,M,241', 'from 0 to 240: mend it'),
    ('b.png,M,nan', "line 3, age_true: 'nan'"),
    (',M,10', 'line 3, file: the cell is empty'),
    ('a.png,M,10', 'line 3, file: a.png is the film of line 2, too: keep one'),
    ('b.png,M,10,x', 'line 3, file: the line has more cells than the header'),
  ],
)
def test_wrong_cells_are_named(tmp_path, line, why):
  with pytest.raises(ValueError, match=r'films\.csv: 1 fault\.') as error:
    read(tmp_path, f'file,sex,age_true\na.png,M,10\n{line}\n')
  assert why in str(error.value)


def test_all_that_is_wrong_is_listed(tmp_path):
  lines = [f'{k}.png,X,{k}' for k in range(40)] + [',M,ten', 'z.png,M,7']
  with pytest.raises(ValueError, match='42 faults') as error:
    read(tmp_path, '\n'.join(['file,sex,age_true', *lines]))
  named = str(error.value).splitlines()[1:]
  assert [int(line.split(',')[0].split()[1]) for line in named] == [
    *range(2, 42), 42, 42,
  ]  # fmt: skip


def test_columns_of_other_names_and_other_units(tmp_path):
  text = 'Image;Male;Bone Age;Patient;set;no\na.png;True;10,5;p;val;7\n'
  names = {
    **{'file': 'image', 'sex': 'Male', 'age_true': 'Bone Age'},
    **{'group': 'Patient', 'split': 'set', 'id': 'no'},
  }
  (row,) = read(tmp_path, text, columns=names, age_unit='years')
  assert row == film_table.Listed(
    'a.png', 'M', 126.0, {}, 'p', '7', 'validation', 2
  )
  with pytest.raises(ValueError, match="Bone Age: '21' is no number of years"):
    read(tmp_path, text.replace('10,5', '21'), columns=names, age_unit='years')
  with pytest.raises(ValueError, match="Male: '2' is none of M, F"):
    read(tmp_path, text.replace('True', '2'), columns=names)
  with pytest.raises(ValueError, match="set: 'dev' is none of train, valid"):
    read(tmp_path, text.replace('val', 'dev'), columns=names)
  with pytest.raises(ValueError, match='got no Reader'):  # asked for by name
    read(tmp_path, text, columns=names | {'chronological_age': 'Reader'})
  with pytest.raises(ValueError, match="sex: 'True' is none of M, F"):
    read(tmp_path, 'file,sex\na.png,True\n')  # only of a column male


def test_columns_and_rows_that_are_missing(tmp_path):
  with pytest.raises(ValueError, match='got no sex'):
    read(tmp_path, 'file,age_true\na.png,10\n')
  with pytest.raises(ValueError, match='got no age_true'):
    read(tmp_path, 'file,sex\na.png,M\n', needs=('age_true',))
  with pytest.raises(ValueError, match='line 2, age_true: the cell is empty'):
    read(tmp_path, 'file,sex,age_true\na.png,M,\n', needs=('age_true',))
  with pytest.raises(ValueError, match='films below the header'):
    read(tmp_path, 'file,sex\n')


@pytest.mark.parametrize(
  ('header', 'columns', 'twice'),
  [
    ('file,sex,age_true,Sex', {}, 'sex'),
    ('file,sex,group, GROUP', {}, 'group'),
    ('file,sex,BA,ba,note,note', {'age_true': 'BA'}, 'ba'),
  ],
)
def test_a_column_that_stands_twice_is_refused(
  tmp_path, header, columns, twice
):
  with pytest.raises(ValueError, match=f'each column once, got {twice} twice'):
    read(tmp_path, f'{header}\na.png,M,1,2,3,4\n', columns=columns)
