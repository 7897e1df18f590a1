"""Tables of text: ours as CSV, and those of others in whatever form they come.

Ours have commas, UTF-8 and one header. A cell of text from outside that a
spreadsheet would run as a formula begins with an apostrophe there.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import io
import re
from typing import IO
from typing import Any
from typing import NamedTuple
import zipfile

from boneage_jax.core import door

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?')
DELIMITERS = (',', ';', '\t', '|')
HEAD = 20  # rows among which the header is looked for
MOST_BYTES = 2**28  # of a table; of Excel files, when they are unpacked


# Ours.


def cell(value: Any) -> Any:
  """Return a value as a cell: text that is a formula gets an apostrophe."""
  if not isinstance(value, str) or _NUMBER.fullmatch(value):
    return value
  return f"'{value}" if _FORMULA.match(value) else value


def text(of_cell: str) -> str:
  """Return the text of a cell that `cell` made."""
  quoted = of_cell[:1] == "'" and _FORMULA.match(of_cell)
  return of_cell[1:] if quoted else of_cell


class Writer:
  """Writes rows of cells as CSV."""

  def __init__(self, file: IO[str]):
    self._writer = csv.writer(file, lineterminator='\n')

  def writerow(self, row: Iterable[Any]) -> None:
    """Write a row."""
    self._writer.writerow([cell(value) for value in row])

  def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
    """Write rows."""
    for row in rows:
      self.writerow(row)


def write_dicts(
  file: IO[str],
  rows: Sequence[Mapping[str, Any]],
  columns: Iterable[str] | None = None,
) -> None:
  """Write a header and rows by column; by default the columns of the first."""
  columns = list(rows[0] if columns is None else columns)
  writer = Writer(file)
  writer.writerow(columns)
  writer.writerows([row.get(name, '') for name in columns] for row in rows)


def read_dicts(
  file: IO[str], path: str, columns: Iterable[str] = ()
) -> list[dict[str, str]]:
  """Read the rows of a table of ours, by column.

  Args:
    file: open for reading.
    path: of the file, for messages.
    columns: that must be there.

  Raises:
    ValueError: a column is missing, or a row is cut or too long.
  """
  rows = _parse(file.read(), ',', path)
  header = [text(name) for name in rows[0][1]] if rows else []
  missing = [name for name in columns if name not in header]
  if missing:
    raise ValueError(
      f'Expected the columns {", ".join(columns)} in {path}, got no '
      f'{", ".join(missing)}: the file is damaged or of another kind. Write '
      'it again, with the stage or command that makes it.'
    )
  found = []
  for line, row in rows[1:]:
    if len(row) != len(header):
      raise ValueError(
        f'Expected {len(header)} cells in line {line} of {path}, got '
        f'{len(row)}: the file is damaged. Write it again, with the stage or '
        'command that makes it.'
      )
    found.append(dict(zip(header, map(text, row), strict=True)))
  return found


# Of others.


class Table(NamedTuple):
  """A table from outside.

  Attributes:
    header: its columns.
    rows: the line or row of the file, from 1, and the cells of it.
    sheet: of an Excel file, else ''.
  """

  header: list[str]
  rows: list[tuple[int, list[str]]]
  sheet: str

  def by_column(self) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line of each row and its cells by column, '' where cut."""
    for line, cells in self.rows:
      row = dict.fromkeys(self.header, '')
      yield line, row | dict(zip(self.header, map(text, cells), strict=False))


def read(
  data: bytes, name: str, is_header: Callable[[list[str]], bool]
) -> Table:
  """Read a table in the form that it came in, where its meaning is certain.

  CSV with commas, semicolons, tabs or bars, in UTF-8, UTF-16 or an 8-bit code;
  or .xlsx, of whose sheets one has the header. Rows above the header, such as
  a title, are left out. Where no row is a header, the first one is returned as
  if it were: the caller says what it lacks.

  Args:
    data: the file.
    name: of the file, for its kind and for messages.
    is_header: tells by its cells whether a row is the header.

  Raises:
    ValueError: not a table, or one that can be read in two ways.
  """
  if len(data) > MOST_BYTES:
    raise ValueError(
      f'Expected a table of at most {MOST_BYTES >> 20} MB, got {name} of '
      f'{len(data) >> 20} MB.'
    )
  kind, ways, faults = 'sheets', {}, []
  if name.lower().endswith('.xlsx'):
    ways = _sheets(data, name)
  else:
    decoded, kind = decode(data, name), 'delimiters'
    for mark in DELIMITERS:
      try:
        ways[mark] = [
          (line, [one.strip() for one in row])
          for line, row in _parse(decoded, mark, name)
        ]
      except ValueError as error:
        faults.append(error)
  heads = {
    way: [i for i, (_, row) in enumerate(rows[:HEAD]) if is_header(row)]
    for way, rows in ways.items()
  }
  fits = [way for way, found in heads.items() if found]
  if len(fits) > 1:
    raise ValueError(
      f'{name}: expected one table, found a header in each of the {kind} '
      f'{", ".join(map(repr, fits))}: keep the one that you mean, or save it '
      'as .csv.'
    )
  if not fits and faults:
    raise faults[0]
  if not fits:
    way = next(iter(ways), '')
    rows = ways.get(way, [])
    first = rows[0][1] if rows else []
    return Table(first, rows[1:], way if kind == 'sheets' else '')
  (way,) = fits
  rows, (first, *others) = ways[way], heads[way]
  if others:
    raise ValueError(
      f'{name}: expected one header, found one in the lines '
      f'{", ".join(str(rows[i][0]) for i in (first, *others))}: keep one table '
      'in the file.'
    )
  sheet = way if kind == 'sheets' else ''
  return Table(rows[first][1], rows[first + 1 :], sheet)


def check_once(
  header: Sequence[str], columns: Iterable[str], name: str
) -> None:
  """Check that no column that is read stands twice.

  Args:
    header: of the table `name`, as columns are compared.
    columns: that are read.

  Raises:
    ValueError: one does; which of them is meant cannot be known.
  """
  twice = [one for one in dict.fromkeys(columns) if header.count(one) > 1]
  if twice:
    raise ValueError(
      f'{name}: expected each column once, got {", ".join(twice)} twice or '
      'more: keep the one that you mean.'
    )


def decode(data: bytes, name: str) -> str:
  """Return the text of a file in UTF-8, UTF-16 or an 8-bit code.

  Raises:
    ValueError: it is no text.
  """
  zeros = data[:4000].count(0)
  if data.startswith((b'\xff\xfe', b'\xfe\xff')):
    codes = ('utf-16',)
  elif zeros:  # of UTF-16 without a mark, every other byte of a digit is 0
    codes = ('utf-16-be',) if data[:1] == b'\0' else ('utf-16-le',)
  else:
    codes = ('utf-8-sig', 'cp1252', 'latin-1')
  for code in codes:
    try:
      found = data.decode(code)
    except UnicodeDecodeError:
      continue
    if not re.search('[\x00-\x08\x0e-\x1f]', found):
      return found.lstrip('\ufeff')
  raise ValueError(
    f'{name}: expected a table as text, got other bytes: save it as .csv '
    '(UTF-8, with commas).'
  )


def _parse(
  decoded: str, delimiter: str, name: str
) -> list[tuple[int, list[str]]]:
  """Return the rows that are not empty, each with its line."""
  lines = io.StringIO(decoded, newline=None)  # ends of lines of any system
  reader = csv.reader(lines, delimiter=delimiter, strict=True)
  found, line = [], 1
  try:
    for row in reader:
      if any(map(str.strip, row)):
        found.append((line, row))
      line = reader.line_num + 1
  except csv.Error as error:
    raise ValueError(
      f'{name}: expected a table, cannot read line {line} ({error}): mend that '
      'line, or save the table again as .csv.'
    ) from error
  return found


def _sheets(data: bytes, name: str) -> dict[str, list[tuple[int, list[str]]]]:
  """Return the rows that are not empty of each sheet of an .xlsx file."""
  try:
    import openpyxl
  except ImportError as error:
    raise ValueError(
      f"{name}: reading Excel files needs openpyxl: pip install -e '.[tables]',"
      ' or save the table as .csv.'
    ) from error
  if data.startswith(b'\xd0\xcf\x11\xe0'):
    raise ValueError(
      f'{name}: an old (.xls) or locked Excel file: save it as .xlsx without '
      'a password, or as .csv.'
    )
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
      size = sum(member.file_size for member in file.infolist())
    if size > MOST_BYTES:
      raise ValueError(f'{size >> 20} MB when unpacked')
    book = openpyxl.load_workbook(
      io.BytesIO(data), read_only=True, data_only=True
    )
    found = {sheet.title: list(_rows(sheet)) for sheet in book.worksheets}
    book.close()
  except Exception as error:  # of any kind: XML, zip, or what is not there
    raise ValueError(
      f'{name}: cannot be read as an Excel file ({type(error).__name__}: '
      f'{door.reason(error)}): open it and save it again as .xlsx, or as .csv.'
    ) from error
  return found


def _rows(sheet: Any) -> Iterator[tuple[int, list[str]]]:
  sheet.reset_dimensions()  # some programs write wrong ones
  for line, row in enumerate(sheet.iter_rows(values_only=True), start=1):
    cells = ['' if value is None else str(value).strip() for value in row]
    if any(cells):
      yield line, cells
