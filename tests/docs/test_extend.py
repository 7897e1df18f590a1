"""The examples of docs/how-to/extend.md do what the page says."""

import types

from encode import encode
from flax import nnx
from ml_collections import ConfigDict
import numpy as np
import own_modules
import pages
import pytest

from boneage_jax import models
from boneage_jax.core import extend
from boneage_jax.data import preprocess
from boneage_jax.models import backbones
from boneage_jax.training import losses
from boneage_jax.training import tasks
from boneage_jax.workflow import jobs
from boneage_jax.workflow import validate
from configs import common

SMALL = dict(name='small', depth=3, channels=4)
STAGE = '--config.whole_image'
OWN = (
  '--config=configs/whole_image.py:phantom',
  '--imports=my_nets,my_losses,ordinal,my_films',
  f'{STAGE}.input.size=32',
  f'{STAGE}.net.name=ordinal_net',
  f'{STAGE}.net.backbone.name=small',
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  """A folder with the files of the page, all of them imported."""
  names = own_modules.write_examples(tmp_path)
  with own_modules.folder(tmp_path, monkeypatch):
    extend.load(name.removesuffix('.py') for name in names)
    yield tmp_path


def test_every_example_can_be_named():
  own = {field: table.own for field, table in extend.TABLES.items()}
  assert own == {
    'backbone': {'small'},
    'net': {'ordinal_net'},
    'loss': {'weighed', 'ordinal', 'ranking'},
    'augment': {'noise'},
    'task': {'large_errors'},
    'job': {'worst'},
  }
  assert 'worst' in jobs.JOBS
  task = tasks.create(ConfigDict({'task': 'large_errors'}))
  errors = np.arange(11.0)
  assert task.error({'age': errors}, {'age': np.zeros(11)}) == 9


def test_commands_of_the_page_give_the_config_that_they_say(monkeypatch):
  text = own_modules.PAGE.read_text(encoding='utf-8')
  found = [words for module, *words in pages.commands(text) if 'main' in module]
  assert len(found) == 5
  read = lambda words: own_modules.parse(
    monkeypatch, *(w for w in words if '--workdir' not in w)
  )
  small, weighed, ordinal, ranking, worst = map(read, found)
  assert small.whole_image.net.backbone.to_dict() == {
    **dict(name='small', depth=5, channels=16),
  }
  assert weighed.whole_image.loss.to_dict() == {
    **dict(name='weighed', old=2.0, from_age=180.0),
  }
  assert ordinal.whole_image.net.backbone.name == 'inception_v3'
  assert ranking.whole_image.loss.to_dict() == {
    **dict(name='ranking', monotonic=0.02),
  }
  assert worst.imports == ('my_jobs',) and worst.worst.films == 3
  (preview,) = (w for m, *w in pages.commands(text) if 'preview' in m)
  shown = read(word for word in preview if '--out' not in word)
  assert shown.whole_image.input.augment.to_dict() == {
    **dict(name='noise', most=20.0),
  }


def test_the_backbone_says_where_its_positions_lie():
  def look():
    made = backbones.create(SMALL, dtype='float32', rngs=nnx.Rngs(0))
    assert made.map_hw((64, 48)) == (8, 6)
    return made(np.zeros((1, 64, 48, 1), np.float32))

  assert nnx.eval_shape(look).shape == (1, 8, 6, 16)


def test_the_loss_weighs_old_hands():
  loss = losses.LOSSES['weighed']
  outputs = {'age': np.array([10.0, 190.0])}
  batch = {'age': np.array([13.0, 180.0])}
  assert loss(outputs, batch, old=2.0)[0].tolist() == [3.0, 20.0]


def test_the_ordinal_net_has_an_output_for_each_limit():
  section = ConfigDict(
    dict(name='ordinal_net', backbone=SMALL, bn_momentum=0.0)
  )
  batch = {
    'image': np.zeros((2, 32, 32, 1), np.uint8),
    'sex': np.zeros(2, np.float32),
  }
  shapes = nnx.eval_shape(lambda: models.create(section, size=32)(batch))
  assert shapes['older'].shape == (2, 239) and shapes['age'].shape == (2,)


def test_the_age_of_the_ordinal_net_is_the_sum_of_probabilities():
  net = types.SimpleNamespace(fc=np.asarray)  # answers what it is told
  features = np.full((2, 1, 1, 2), 3.0, np.float32)
  sex = np.array([1.0, -1.0], np.float32)
  outputs = models.NETS['ordinal_net'].head(net, features, {'sex': sex})
  logits = np.array([[3.0, 3.0, 1.0], [3.0, 3.0, -1.0]])
  want = (1 / (1 + np.exp(-logits))).sum(-1)
  np.testing.assert_allclose(outputs['age'], want, rtol=1e-6)


def test_ordinal_and_ranking_losses_by_hand():
  older = np.array([[2.0, -1.0, 1.0]], np.float32)
  outputs = {'older': older, 'age': np.array([1.5], np.float32)}
  batch = {'age': np.array([1.0], np.float32)}  # older than 0, than no other
  p = 1 / (1 + np.exp(-older[0].astype(np.float64)))
  want = -np.mean(np.log([p[0], 1 - p[1], 1 - p[2]]))
  value, scalars = losses.LOSSES['ordinal'](outputs, batch)
  np.testing.assert_allclose(value, [want], rtol=1e-6)
  assert scalars['mae'].tolist() == [0.5]
  value, scalars = losses.LOSSES['ranking'](outputs, batch, monotonic=0.5)
  np.testing.assert_allclose(value, [want + 0.5 * (p[2] - p[1])], rtol=1e-6)
  falling = {'older': -np.sort(-older), 'age': outputs['age']}
  assert losses.LOSSES['ranking'](falling, batch)[1]['rises'].tolist() == [0]


def example(film, rng=None, **own):
  settings = types.SimpleNamespace(
    **common.image_input(size=32, augment=dict(own))
  )
  record = {'id': '1', 'row': 1, 'sex': 1.0, 'age': 100.0} | film
  return preprocess.make_example(record, settings, rng)


@pytest.mark.parametrize('name', ['image', 'regions'])
def test_noise_is_drawn_in_training_alone_and_by_the_seed(name):
  png = encode(np.full((64, 64), 128, np.uint8))
  film = {name: png if name == 'image' else [png, png]}
  plain = example(film, name='')[name]
  draw = lambda seed, **own: example(film, np.random.default_rng(seed), **own)
  noisy = draw(0, name='noise', most=40.0)[name]
  assert noisy.shape == plain.shape and noisy.dtype == np.uint8
  assert 1 < noisy.std() < 40 and (draw(0, name='')[name] == plain).all()
  assert (noisy == draw(0, name='noise', most=40.0)[name]).all()
  assert (noisy != draw(1, name='noise', most=40.0)[name]).any()
  assert (example(film, name='noise', most=40.0)[name] == plain).all()
  with pytest.raises(ValueError, match=r"among \['noise'\], got .*'nose'"):
    draw(0, name='nose')


def check(monkeypatch, tmp_path, *arguments):
  config = own_modules.parse(monkeypatch, *OWN, *arguments)
  validate.validate(config, str(tmp_path / 'run'), without_films=True)
  return config


def test_own_parts_pass_the_checks_before_the_first_stage(
  monkeypatch, tmp_path
):
  arguments = (
    f'{STAGE}.loss.name=ranking',
    f'{STAGE}.input.augment.name=noise',
  )
  config = check(monkeypatch, tmp_path, *arguments)
  assert config.whole_image.input.augment.most == 5.0


def test_an_own_loss_may_read_all_of_a_batch_and_of_outputs(
  folder, monkeypatch, tmp_path
):
  (folder / 'more.py').write_text(MORE)
  config = own_modules.parse(
    monkeypatch,
    *('--config=configs/whole_image.py:phantom', '--imports=my_nets,more'),
    *(f'{STAGE}.net.backbone.name=small', f'{STAGE}.loss.name=more'),
    f'{STAGE}.input.size=32',
  )
  validate.validate(config, str(tmp_path / 'run'), without_films=True)


MORE = """
from boneage_jax.training import losses

def more(outputs, batch):
  return outputs['embedding'].sum(-1) + batch['sex'], {}

losses.add('more', more)
"""
BAD = """
from boneage_jax import models
from boneage_jax.data import augmentations
from boneage_jax.models import backbones
from boneage_jax.training import losses
from flax import nnx
import my_nets
import ordinal

class Mute(my_nets.Small):
  def __init__(self, *, dtype, remat=False, rngs):
    super().__init__(depth=1, dtype=dtype, remat=remat, rngs=rngs)
    self.stage1 = nnx.Linear(1, 16, rngs=rngs)

class Ageless(ordinal.OrdinalNet):
  def head(self, features, inputs, rngs=None):
    outputs = super().head(features, inputs)
    return {'older': outputs['older']}

def broken(outputs, batch):
  return outputs['age'].nothing, {}

def other(outputs, batch):
  return outputs['elder'], {}

backbones.add('mute', Mute)
models.add('ageless', Ageless)
losses.add('broken', broken)
losses.add('other', other)
augmentations.add('half', lambda image, rng: image[::2])
"""


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (
      (f'{STAGE}.net.name=ageless', f'{STAGE}.loss.name=ordinal'),
      r"expected `age` \[1\], in months, .*got \{.*'older': \[1, 239\]\}",
    ),
    ((f'{STAGE}.loss.name=broken',), r'bad\.py, line 21: .*nothing'),
    (
      (f'{STAGE}.net.backbone.name=mute', f'{STAGE}.loss.name=ordinal'),
      'stage stage1 of Mute to have `channels`, .* but Linear has none: set',
    ),
    (
      (f'{STAGE}.loss.name=other',),
      'age, embedding, older, and what .* got one that wants',
    ),
    (
      (f'{STAGE}.loss.name=ordinal', f'{STAGE}.input.augment.name=half'),
      r"Expected uint8 \[32, 32\] of augment.name='half', got uint8 \[16, 32\]",
    ),
    (
      (
        *(f'{STAGE}.loss.name=ordinal', f'{STAGE}.input.augment.name=noise'),
        f'{STAGE}.input.device_augment=64',
      ),
      r'Expected no whole_image\.input\.device_augment with an augmentation',
    ),
  ],
)
def test_mistakes_are_found_before_the_first_stage(
  folder, monkeypatch, tmp_path, arguments, message
):
  (folder / 'bad.py').write_text(BAD)
  extend.load('bad')
  with pytest.raises(ValueError, match=message) as found:
    check(monkeypatch, tmp_path, *arguments)
  assert '\n' not in str(found.value)


def test_an_augmentation_can_be_taken_out(monkeypatch):
  config = own_modules.parse(
    monkeypatch,
    *('--config=my_config.py:phantom', f'{STAGE}.input.augment.name='),
  )
  assert config.whole_image.input.augment.to_dict() == {'name': ''}
  assert config.imports == ('my_jobs',)
