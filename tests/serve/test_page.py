"""The page in a browser: what a person at it can do."""

import re
import shutil

import numpy as np
import pytest

sync_api = pytest.importorskip(
  'playwright.sync_api', reason='needs the extra browser'
)
import server  # noqa: E402

sync_api.expect.set_options(timeout=60_000)

NAMES = (
  *('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'),
  *('chrome', 'microsoft-edge', 'msedge'),
)
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
  pytest.mark.ci,
  pytest.mark.skipif(
    BROWSER is None, reason=f'found no browser of {", ".join(NAMES)}'
  ),
]
PHONE = {'viewport': {'width': 390, 'height': 844}, 'has_touch': True}


@pytest.fixture(scope='module')
def address():
  with server.listening() as made:
    yield made


@pytest.fixture(scope='module')
def browser():
  with sync_api.sync_playwright() as play:
    found = play.chromium.launch(
      executable_path=BROWSER, args=['--no-sandbox', '--disable-dev-shm-usage']
    )
    yield found
    found.close()


@pytest.fixture
def open_page(browser, address):
  """Opens the page; at the end it has had no error and asked no other host."""
  contexts, faults = [], []

  def make(**options):
    context = browser.new_context(**options)
    contexts.append(context)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on('pageerror', lambda error: faults.append(str(error)))
    # Refused films are no fault of the page.
    page.on(
      'console',
      lambda said: (
        said.type == 'error'
        and 'status of' not in said.text
        and faults.append(said.text)
      ),
    )
    page.on(
      'request',
      lambda asked: (
        asked.url.startswith((address, 'data:')) or faults.append(asked.url)
      ),
    )
    page.goto(address)
    return page

  yield make
  for context in contexts:
    context.close()
  assert not faults


def file(name, content):
  return {'name': name, 'mimeType': '', 'buffer': content}


def send(page, *films, sex='F'):
  page.get_by_label(
    {'F': 'Girl', 'M': 'Boy', 'unknown': 'Unknown'}[sex]
  ).first.check(force=True)
  page.set_input_files('#choose', [file(*film) for film in films])


def film(page, name):
  return page.locator(
    'article.film', has=page.get_by_role('heading', name=name)
  )


def answered(page, name):
  one = film(page, name)
  one.locator('.answer').wait_for()
  return one


def test_a_film_is_answered(open_page):
  page = open_page()
  expect = sync_api.expect
  expect(page.get_by_role('note')).to_contain_text('synthetic')
  send(page, ('hand.png', server.phantom(20)))
  one = answered(page, 'hand.png')
  expect(one.locator('.age')).to_have_text('9 y 11 mo 119.0 months')
  expect(one.locator('.interval')).to_contain_text('105.0 to 133.0 months')
  expect(one.locator('.status')).to_have_text('No check failed')
  expect(one.locator('.rests')).to_contain_text('12 <films>')
  assert one.locator('.chart svg').get_attribute('aria-label')
  # The layers lie on each other, and each can be hidden.
  places = [
    one.locator(f'.layers .{name}').bounding_box()
    for name in ('grey', 'heat', 'marks')
  ]
  assert places[0] == places[1] == places[2]
  one.get_by_label('Heat map', exact=True).uncheck()
  expect(one.locator('.layers .heat')).to_have_css('visibility', 'hidden')
  expect(one.locator('.layers .marks')).to_have_css('visibility', 'visible')
  one.get_by_label('Brightness').fill('80')
  assert 'url' in one.locator('.grey').evaluate(
    'e => getComputedStyle(e).filter'
  )
  one.get_by_role('button', name='Zoom in').click()
  assert 'scale(1.5)' in one.locator('.layers').get_attribute('style')
  # Beside it, phantoms at the estimate and at the ends of its interval.
  expect(one.locator('.compare button')).to_have_count(3)
  expect(one.locator('.compare')).to_contain_text('8 y 9 mo')
  expect(one.locator('.changes h4')).to_be_visible()
  one.get_by_role('slider', name='Bone age of the phantom').fill('23')
  expect(one.locator('.changes')).to_contain_text(
    'Appears: triquetrum (1 y 9 mo)'
  )
  named = one.locator('.changes').text_content().count(' mo)')
  expect(one.locator('.ring ellipse')).to_have_count(named)
  one.locator('.of-sex select').select_option('M')
  expect(one.locator('.compare')).to_contain_text('9 y 11 mo')
  one.get_by_role('button', name='Remove').click()
  expect(one).to_have_count(0)


def test_films_wait_for_a_sex_and_each_has_its_own(open_page):
  page = open_page()
  expect = sync_api.expect
  page.set_input_files('#choose', [file('hand.png', server.phantom(20))])
  expect(page.get_by_role('status').first).to_contain_text('Choose the sex')
  expect(page.locator('article')).to_have_count(0)
  films = [
    ('one.png', server.phantom(20)),
    ('two.png', server.phantom(30)),
    ('blank.png', server.phantom(0)),
    ('notes.txt', b'no film'),
    ('<b>.png', server.phantom(20)[:-40]),
    ('large.png', bytes(1_200_000)),
  ]
  send(page, *films, sex='unknown')
  expect(answered(page, 'one.png').locator('.ages')).to_contain_text(
    'If a boy10 y 1 mo (121.0 months)'
  )
  expect(answered(page, 'two.png').locator('.age')).to_contain_text('130.0')
  refused = answered(page, 'blank.png')
  expect(refused.locator('.status')).to_have_text('Refused')
  expect(refused.locator('.age strong')).to_have_text('No age')
  expect(refused.locator('.messages')).to_contain_text('blank or saturated')
  expect(refused.locator('.atlas')).to_be_hidden()
  for name, said in (
    ('notes.txt', 'expected PNG, JPEG, DICOM'),
    ('<b>.png', 'Truncated PNG'),
    ('large.png', 'more than 1 megabytes'),
  ):
    expect(film(page, name).locator('.state')).to_contain_text(said)
  one = film(page, 'one.png')
  one.get_by_label('Sex').select_option('M')
  expect(one.locator('.age')).to_contain_text('121.0 months')
  expect(one.locator('.ages')).to_be_hidden()


def test_films_are_dropped_and_tried_again_while_others_wait(open_page):
  page = open_page()
  asked = []

  def busy(route):
    asked.append(route)
    if len(asked) > 1:
      return route.continue_()
    return route.fulfill(
      status=429, headers={'Retry-After': '1'}, json={'detail': 'full'}
    )

  page.route('**/predict', busy)
  page.get_by_label('Girl').first.check(force=True)
  data = list(server.phantom(20))
  page.evaluate(
    """data => {
      const files = new DataTransfer();
      files.items.add(new File([new Uint8Array(data)], 'dropped.png'));
      document.getElementById('drop').dispatchEvent(new DragEvent(
          'drop', {dataTransfer: files, bubbles: true, cancelable: true}));
    }""",
    data,
  )
  sync_api.expect(film(page, 'dropped.png').locator('.state')).to_contain_text(
    'again in 1 s'
  )
  answered(page, 'dropped.png')
  assert len(asked) == 2


def test_all_can_be_done_with_the_keyboard(open_page):
  page = open_page()
  expect = sync_api.expect
  chosen = [file('hand.png', server.phantom(20))]
  page.on('filechooser', lambda chooser: chooser.set_files(chosen))
  page.keyboard.press('Tab')
  expect(page.locator('.skip')).to_be_focused()
  page.keyboard.press('Tab')
  page.keyboard.press('ArrowRight')  # from boy to girl
  expect(page.locator('input[value=F]')).to_be_checked()
  page.keyboard.press('Tab')
  expect(page.locator('#choose')).to_be_focused()
  page.keyboard.press('Enter')
  one = answered(page, 'hand.png')
  stage = one.locator('.stage')
  for _ in range(12):
    page.keyboard.press('Tab')
    if stage.evaluate('e => e === document.activeElement'):
      break
  expect(stage).to_be_focused()
  layers = one.locator('.layers')
  for key, said in (
    ('+', r'translate\(0px, 0px\) scale\(1\.25\)'),
    ('ArrowLeft', r'translate\(40px, 0px\) scale\(1\.25\)'),
    ('0', r'translate\(0px, 0px\) scale\(1\)'),
  ):
    page.keyboard.press(key)
    expect(layers).to_have_attribute('style', re.compile(said))
  # Every control has a name.
  names = page.locator('button, input, select').evaluate_all(
    'all => all.map(e => e.getAttribute("aria-label") || e.textContent.trim()'
    ' || [...(e.labels || [])].map(l => l.textContent.trim()).join(""))'
  )
  assert len(names) > 15 and all(names), names


@pytest.mark.parametrize('options', [{}, PHONE], ids=['desktop', 'phone'])
def test_nothing_is_wider_than_the_screen(open_page, options):
  page = open_page(**options)
  name = 'a_name_without_any_space_' * 6 + '.png'
  send(page, (name, server.phantom(20)), sex='unknown')
  answered(page, name)
  page.locator('.changes h4').wait_for()
  width, room = page.evaluate(
    '[document.documentElement.scrollWidth, innerWidth]'
  )
  assert width <= room
  if options:
    small = page.locator('button:visible, select:visible').evaluate_all(
      'all => all.filter(e => e.getBoundingClientRect().height < 44).length'
    )
    assert not small


def test_dark_mode_is_dark_and_can_be_read(open_page):
  def lightness(page, place, what):
    colour = page.locator(place).first.evaluate(
      f'e => getComputedStyle(e).{what}'
    )
    return sum(map(int, re.findall(r'\d+', colour)[:3])) / 3

  for scheme, dark in (('light', False), ('dark', True)):
    page = open_page(color_scheme=scheme)
    ground = lightness(page, 'body', 'backgroundColor')
    ink = lightness(page, 'body', 'color')
    panel = lightness(page, '.panel', 'backgroundColor')
    assert (ground < 60) == dark and (panel < 60) == dark
    assert abs(ink - panel) > 150


def test_a_film_is_printed_on_one_page(open_page):
  page = open_page()
  send(page, ('one.png', server.phantom(20)), sex='unknown')
  answered(page, 'one.png')
  page.locator('.changes h4').wait_for()
  pages = lambda: len(
    re.findall(rb'/Type /Page\b', page.pdf(prefer_css_page_size=True))
  )
  assert pages() == 1
  send(page, ('two.png', server.phantom(30)))
  answered(page, 'two.png')
  assert pages() == 2
  page.emulate_media(media='print')
  sync_api.expect(page.locator('#send')).to_be_hidden()
  sync_api.expect(page.get_by_text('For research').first).to_be_visible()


class AskingNets(server.ShowingNets):
  """Read the chronological age, and tell 0.8 for the sex of every film."""

  inputs = ('chronological_age',)
  asked = ()

  def outputs(self, records):
    self.asked += tuple(record['chronological_age'] for record in records)
    outputs, films = super().outputs(records)
    return outputs | {'extra/p_male': np.full(len(records), 0.8)}, films


def test_numbers_that_nets_read_are_asked_for(browser):
  nets = AskingNets()
  with server.listening(found=nets) as address:
    page = browser.new_page()
    page.goto(address)
    page.get_by_label('Chronological age (months)').fill('99.5')
    send(page, ('hand.png', server.phantom(20)), sex='unknown')
    one = answered(page, 'hand.png')
    sync_api.expect(one.locator('.answer')).to_contain_text(
      'weighs both by the probability of a boy that the net tells, 80 %'
    )
    assert nets.asked == (99.5, 99.5)  # as a boy's and as a girl's
    page.get_by_label('Chronological age (months)').fill('')
    send(page, ('next.png', server.phantom(20)))
    sync_api.expect(film(page, 'next.png')).to_contain_text(
      'The chronological_age (months) is not known'
    )
    page.close()
