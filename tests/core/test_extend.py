"""What modules of a user add, and how command lines choose it."""

import sys

import own_modules
import pytest

from boneage_jax.core import config as config_lib
from boneage_jax.core import extend
from boneage_jax.models import backbones
from boneage_jax.training import losses

LOSS = """
from boneage_jax.training import losses

def bent(outputs, batch, own: float = 1, most: int | None = None, of=(1, 2)):
  return own * abs(outputs['age'] - batch['age']), {}

losses.add('bent', bent)
"""
MINE = """
from configs import whole_image

def get_config(variant=''):
  config = whole_image.get_config(variant)
  with config.unlocked():
    config.imports = ('my_loss',)
    config.whole_image.loss = dict(name='bent', own=1.0)
  return config
"""
STAGE = '--config.whole_image'


@pytest.fixture
def folder(monkeypatch, tmp_path):
  """A folder of a user, with my_loss.py; afterwards tables are as before."""
  (tmp_path / 'my_loss.py').write_text(LOSS)
  with own_modules.folder(tmp_path, monkeypatch):
    yield tmp_path


@pytest.fixture
def parsed(monkeypatch):
  """Function that reads a command line, and returns the config."""

  def parse(*arguments, file='whole_image.py'):
    file = file if file == 'mine.py' else config_lib.CONFIGS / file
    return own_modules.parse(
      monkeypatch, f'--config={file}:phantom', *arguments
    )

  return parse


@pytest.mark.parametrize(
  'imports',
  [
    '--config.imports=my_loss',
    '--imports=my_loss',
    "--config.imports=('my_loss',)",
  ],
)
def test_overrides_are_those_of_the_new_loss_in_any_order(
  folder, parsed, imports
):
  config = parsed(
    f'{STAGE}.loss.own=0.3',
    f'{STAGE}.loss.most=3',
    f'{STAGE}.loss.name=bent',
    imports,
  )
  assert config.imports == ('my_loss',)
  want = {'name': 'bent', 'own': 0.3, 'most': 3, 'of': (1, 2)}
  assert config.whole_image.loss.to_dict() == want
  loss = losses.create(config.whole_image)
  assert loss({'age': 5.0}, {'age': 3.0})[0] == pytest.approx(0.6)


def test_imports_of_the_file_and_of_all_flags_count(folder, parsed):
  (folder / 'more.py').write_text('')
  (folder / 'most.py').write_text('')
  (folder / 'mine.py').write_text(MINE)
  flags = ('--imports=more', '--config.imports=most')
  config = parsed(*flags, file='mine.py')
  assert config.imports == ('my_loss', 'more', 'most')
  assert config.whole_image.loss.own == 1.0


def test_defaults_are_those_of_the_signature(folder, parsed):
  config = parsed('--imports=my_loss', f'{STAGE}.loss.name', 'bent')
  want = {'name': 'bent', 'own': 1.0, 'most': None, 'of': (1, 2)}
  assert config.whole_image.loss.to_dict() == want
  assert isinstance(config.whole_image.loss.own, float)
  kept = config_lib.to_json(config)
  assert kept['imports'] == ['my_loss']
  assert kept['whole_image']['loss']['most'] is None


def test_backbones_of_ours_are_chosen_likewise(parsed):
  before = parsed().whole_image.net
  net = parsed(
    f'{STAGE}.net.backbone.depth=18', f'{STAGE}.net.backbone.name=resnet'
  ).whole_image.net
  own = net.backbone
  assert (own.name, own.depth, own.width, own.endpoint) == (
    *('resnet', 18, 1.0, None),
  )
  assert net.pool == before.pool and net.bn_momentum == before.bn_momentum
  same = parsed(f'{STAGE}.net.backbone.name={before.backbone.name}')
  assert same.whole_image.net == before  # its settings stay


def test_a_section_by_another_name_is_found_by_what_it_holds(parsed):
  config = parsed(
    '--config.assessor.net.carpal.name=resnet',
    '--config.assessor.net.carpal.depth=18',
    file='cascade.py',
  )
  assert config.assessor.net.carpal.depth == 18
  assert config.assessor.net.metacarpal.depth == 50


def test_the_name_of_a_data_set_is_free(parsed):
  config = parsed('--config.data.name=mine')
  assert config.data.name == 'mine' and config.data.split == 'auto'


def test_a_net_keeps_the_parts_that_it_also_has(parsed):
  net = parsed(f'{STAGE}.net.name=region_channels').whole_image.net
  before = parsed().whole_image.net
  assert net.backbone == before.backbone
  assert net.bn_momentum == before.bn_momentum == 0.9
  assert (net.pool, before.pool) == ('gap', 'gmp')  # of the signature


def test_every_entry_of_ours_has_a_plain_signature():
  for field in ('net', 'backbone', 'loss'):
    for name in extend.TABLES[field].entries:
      for one in extend.parameters(field, name).values():
        plain = (bool, int, float, str, tuple, type(None), type)
        assert isinstance(one.default, plain), (field, name, one)


FAULTS = {
  'wrong.py': 'x = 1\n{}["a"]\n',
  'taken.py': LOSS.replace("'bent'", "'mae'"),
  'unfinished.py': 'x = (',
  'deep.py': 'import not_there\n',
}


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--imports=none_such'], 'There is no module none_such to import: give'),
    (['--imports=a.b'], 'There is no module a to import'),
    (['--imports=my_loss.py'], "got 'my_loss.py': of my_nets.py it is my_nets"),
    (['--imports=wrong'], "wrong.py, line 2: KeyError: 'a'"),
    (['--imports=unfinished'], 'unfinished.py, line 1: SyntaxError: '),
    (
      ['--imports=deep'],
      'deep.py, line 1: ModuleNotFoundError: No module',
    ),
    (['--imports=taken'], "a new name for a loss, got 'mae', which is taken"),
    ([f'{STAGE}.loss.name=bent'], f'{STAGE}.loss.name=bent: expected one of '),
    ([f'{STAGE}.net.name=two_stream'], 'it needs carpal, for which it has no'),
    (
      ['--imports=my_loss', f'{STAGE}.loss.name=bent', f'{STAGE}.loss.oen=1'],
      f"{STAGE}.loss.oen: the config has no field 'oen'",
    ),
  ],
)
def test_mistakes_are_one_line(folder, parsed, arguments, message):
  for name, text in FAULTS.items():
    (folder / name).write_text(text)
  with pytest.raises(SystemExit) as stop:
    parsed(*arguments)
  text = str(stop.value.code)
  assert text.startswith('Error: ') and message in text
  assert '\n' not in text.partition('\nDid you mean')[0]


def test_a_run_says_which_modules_it_needs(folder):
  needs = {'imports': ['my_loss']}
  with pytest.raises(ValueError, match=r'--imports=my_loss, .*got none'):
    extend.check(needs, 'runs/a')
  assert 'my_loss' not in sys.modules  # a file chooses no code
  extend.load('my_loss')
  extend.check(needs, 'runs/a')
  extend.check({}, 'runs/old')


def test_an_entry_takes_what_it_is_given():
  message = "the loss 'odd' to take outputs, batch, got the parameters a, b"
  with pytest.raises(ValueError, match=message):
    losses.add('odd', lambda a, b: a)
  assert 'odd' not in losses.LOSSES


def test_a_subclass_of_ours_cannot_take_its_name():
  with pytest.raises(ValueError, match="'resnet', which is taken"):
    backbones.add('resnet', object)
