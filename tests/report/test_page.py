"""The page of a report: self-contained, complete, escaped."""

import csv
import html.parser
import os
import re

import report_run


class _Links(html.parser.HTMLParser):
  """Collect what a page would load, and pictures without a description."""

  def __init__(self):
    super().__init__()
    self.links, self.bare, self.open, self.text = [], 0, [], ''

  def handle_starttag(self, tag, attrs):
    values = dict(attrs)
    self.links += [values[k] for k in ('src', 'srcset', 'href') if k in values]
    self.bare += tag == 'img' and not values.get('alt')
    if tag not in ('meta', 'img', 'source', 'br', 'line', 'rect', 'polygon'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    if tag not in ('line', 'rect', 'polygon'):
      assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


def test_page_is_self_contained(run):
  _, folder = run
  page = report_run.read(folder, 'report.html')
  parser = _Links()
  parser.feed(page)
  assert parser.links and not parser.open and not parser.bare
  assert all(link.startswith('data:image/') for link in parser.links)
  assert 'http' not in re.sub(r'base64,[\w+/=]+', '', page)
  assert 'url(' not in page and '@import' not in page and '$' not in page


def test_page_says_what_it_must(run):
  figures, folder = run
  page = report_run.read(folder, 'report.html')
  assert f'{figures["splits"]["test"]["mae"]:.2f}' in page
  assert f'subset: {report_run.FILMS} of 12611 films' in page
  for text in ('(train) sha256 abababababab', '(test) sha256 cdcdcdcdcdcd'):
    assert text in page
  assert 'annotated boxes, train' in page and 'boxes, test' not in page
  assert 'Region carpal not found on 1 of 48 films' in page
  assert page.count('aria-label="Predicted distribution') == 9
  assert page.count('with the map of ages') == 9
  rows = csv.DictReader(report_run.read(folder, 'predictions.csv').splitlines())
  age = {row['id']: float(row['age_predicted']) for row in rows}
  found = re.findall(
    r'film (\d+),.*?map of ages: ([\d.]+) to ([\d.]+) months at 2 x 2',
    page,
    re.DOTALL,
  )
  assert len(found) == 9
  for film, low, high in found:
    assert abs(float(low) - age[film]) < 50 > abs(float(high) - age[film])
    assert float(low) < float(high)
  assert page.count('90.0 % wide and 90.0 % high, shifted right by 5.0 %') == 9
  for name in ('scatter', 'bland_altman', 'training_localizer'):
    with open(os.path.join(folder, f'{name}.png'), 'rb') as file:
      assert file.read(4) == b'\x89PNG'


def test_whatever_a_run_says_is_escaped(tmp_path):
  workdir = report_run.workdir(tmp_path)
  nasty = '<script>alert("1")</script> & \'more\''
  regions = {
    str(1000 + k): {nasty: report_run.MISSED} for k in range(report_run.FILMS)
  }
  data = {
    'name': nasty,
    'split': nasty,
    'label_files': {nasty: {'file': nasty, 'sha256': nasty}},
  }
  figures = report_run.write(
    workdir,
    config={nasty: nasty},
    data=data,
    regions=regions,
    coverage={nasty: {nasty: {nasty: 1.0}}},
    references={nasty: {str(1000 + k): 100.0 for k in range(report_run.FILMS)}},
    produced={nasty: nasty},
  )
  assert nasty in figures['alarms'][0]
  page = report_run.read(tmp_path / 'report', 'report.html')
  assert '<script' not in page and 'alert(&#34;1&#34;)' in page
  parser = _Links()
  parser.feed(page)
  assert not parser.open
  assert parser.text.count(nasty) > 15  # each place shows it as it is
