"""Tables of others in every form, and ours without formulas."""

import csv
import io

import openpyxl
import pytest

from boneage_jax.core import tables

ROWS = [['id', 'age'], ['1', '30'], ['2', '40.5']]
TEXT = 'id,age\n1,30\n2,40.5\n'


def read(data, name='t.csv'):
  return tables.read(data, name, lambda row: {'id', 'age'} <= set(row))


def book(**sheets):
  made = openpyxl.Workbook()
  made.remove(made.active)
  for title, rows in sheets.items():
    sheet = made.create_sheet(title)
    for row in rows:
      sheet.append(row)
  file = io.BytesIO()
  made.save(file)
  return file.getvalue()


@pytest.mark.parametrize(
  ('data', 'lines'),
  [
    (TEXT.encode(), [2, 3]),
    (TEXT.replace(',', ';').encode(), [2, 3]),
    (TEXT.replace(',', '\t').encode(), [2, 3]),
    (TEXT.replace('\n', '\r').encode(), [2, 3]),
    (TEXT.encode('utf-16'), [2, 3]),
    (TEXT.encode('utf-16-be'), [2, 3]),
    (TEXT.encode('utf-8-sig'), [2, 3]),
    (f'Ages of Köln\n\n{TEXT}'.encode('latin-1'), [4, 5]),
    (f'sep=;\n{TEXT}'.replace(',', ';').encode(), [3, 4]),
  ],
)
def test_text_of_any_form_is_the_same_table(data, lines):
  found = read(data)
  assert found.header == ROWS[0]
  assert [row for _, row in found.rows] == ROWS[1:]
  assert [line for line, _ in found.rows] == lines


def test_the_sheet_with_the_header_is_read():
  found = read(book(Notes=[['Köln'], ['2026']], Ages=ROWS), 't.xlsx')
  assert (found.sheet, found.header) == ('Ages', ROWS[0])
  assert found.rows == [(2, ['1', '30']), (3, ['2', '40.5'])]


@pytest.mark.parametrize(
  ('data', 'name', 'says'),
  [
    (book(A=ROWS, B=ROWS), 't.xlsx', "each of the sheets 'A', 'B'"),
    (TEXT.encode() + TEXT.encode(), 't.csv', 'found one in the lines 1, 4'),
    (b'id,age\n1,"30\n2,40\n', 't.csv', 'cannot read line 2'),
    (b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR' * 9, 't.csv', 'got other bytes'),
    (b'PK\x03\x04 not whole', 't.xlsx', 'cannot be read as an Excel file'),
    (b'\xd0\xcf\x11\xe0' + bytes(99), 't.xlsx', 'an old .* Excel file'),
  ],
)
def test_what_is_not_certain_is_refused_by_name(data, name, says):
  with pytest.raises(ValueError, match=f'{name}: .*{says}'):
    read(data, name)


def test_without_a_header_the_first_row_is_shown():
  found = read(b'name;months\n1;2\n')
  assert found.header == ['name;months']


OUTSIDE = ('=1+1', '+a', '-x', '@y', '\tz', "'=1", "''@", '\uff1dx', "'s", 'a=')


def test_no_cell_is_a_formula_and_all_come_back():
  file = io.StringIO()
  numbers = ['-5', '+1.5e3', '-0.25']
  tables.write_dicts(file, [{'name': t, 'n': n} for t in OUTSIDE for n in '1'])
  tables.Writer(file).writerows([n, n] for n in numbers)
  raw = list(csv.reader(io.StringIO(file.getvalue())))
  risky = [row[0] for row in raw if row[0][0] in '=+-@\t\r']
  assert risky == numbers  # numbers stay
  file.seek(0)
  found = tables.read_dicts(file, 'f.csv', ('name',))
  assert [row['name'] for row in found] == [*OUTSIDE, *numbers]


@pytest.mark.parametrize(
  ('text', 'says'),
  [
    ('id,x\n1,2\n3\n', r'Expected 2 cells in line 3 of f\.csv, got 1'),
    ('id\n1\n', r'columns id, x in f\.csv, got no x'),
    ('', r'columns id, x in f\.csv, got no id, x'),
  ],
)
def test_a_damaged_table_of_ours_is_named(text, says):
  with pytest.raises(ValueError, match=says):
    tables.read_dicts(io.StringIO(text), 'f.csv', ('id', 'x'))
