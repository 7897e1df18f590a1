"""What configs share: sections that are made, and go on from others."""

from ml_collections import ConfigDict
import pytest

from configs import cascade
from configs import common


def test_unknown_fields_of_a_section():
  with pytest.raises(ValueError, match=r"Unknown config fields: \['epoch'\]"):
    common.train_stage(epoch=3)


def test_finetune_mutates_nothing():
  first = ConfigDict(common.train_stage()).lock()
  before = first.to_dict()
  new = common.finetune(
    first, run=':first', learning_rate=1e-4, input=dict(size=17), epochs=2
  )
  assert first.to_dict() == before
  assert (new.init_from.run, new.input.size, new.epochs) == (':first', 17, 2)
  assert new.optimizer.learning_rate == 1e-4
  new.tta.flip = True
  new.net.backbone.width = 0.5
  assert first.to_dict() == before
  assert new.net.dropout == before['net']['dropout']


@pytest.mark.parametrize('changes', [dict(epoch=2), dict(input=dict(side=2))])
def test_finetune_refuses_unknown_fields(changes):
  first = ConfigDict(common.train_stage())
  with pytest.raises(KeyError, match=r'epoch|side'):
    common.finetune(first, run=':first', learning_rate=1e-4, **changes)


def test_sections_share_nothing():
  config = cascade.get_config()
  config.localizer.input.size = 17
  assert config.assessor.input.size != 17
  assert cascade.get_config().localizer.input.size != 17
  config = cascade.get_config('half')
  config.localizer.net.backbone.width = 0.5
  assert config.assessor.net.carpal.width == 1.0
  config.assessor.net.carpal.width = 0.25
  assert config.assessor.net.metacarpal.width == 1.0
