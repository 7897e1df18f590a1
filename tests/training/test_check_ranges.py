"""Numbers that cannot be are refused before anything is prepared."""

import pytest
import tiny_cascade

from boneage_jax.workflow import validate


@pytest.mark.parametrize(
  ('field', 'value', 'expected'),
  [
    ('seed', -1, 'of 0 or more'),
    ('localizer.seed', -1, 'of 0 or more'),
    ('localizer.log_steps', 0, 'of 1 or more'),
    ('localizer.checkpoint_steps', 0, 'of 1 or more'),
    ('localizer.eval_steps', -1, 'of 0 or more'),
    ('localizer.ema', 1.5, 'from 0 to below 1'),
    ('localizer.net.bn_momentum', 3.0, 'from 0 to below 1'),
    ('localizer.net.dropout', 1.0, 'from 0 to below 1'),
    ('localizer.guidance.weight', -1.0, 'of 0 or more'),
    ('localizer.optimizer.learning_rate', -1e-3, 'of 0 or more'),
    ('localizer.optimizer.learning_rate', float('nan'), 'of 0 or more'),
    ('localizer.optimizer.warmup', 1.5, 'from 0 to 1'),
    ('localizer.optimizer.b1', 2.0, 'from 0 to below 1'),
    ('localizer.optimizer.grad_clip_norm', -1.0, 'of 0 or more'),
    ('localizer.input.threads', -1, 'of 0 or more'),
    ('localizer.input.zoom', 2.0, 'from 0 to below 1'),
    ('localizer.input.shift', -0.1, 'from 0 to 1'),
    ('localizer.input.cutout', -1, 'of 0 or more'),
    ('localizer.input.gamma', -0.1, 'of 0 or more'),
    ('localizer.input.drawn_share', 1.0, 'from 0 to 0.9'),
    ('regions.smooth', -1.0, 'of 0 or more'),
    ('regions.minimum_side', (0.1, 1.5), 'from 0 to 1'),
  ],
)
def test_a_number_out_of_its_range(tmp_path, field, value, expected):
  config = tiny_cascade.get_config().unlock()
  validate.validate(config, str(tmp_path))
  config.update_from_flattened_dict({field: value})
  message = f'Expected {field} {expected}, got .*: change --config.{field}.'
  with pytest.raises(ValueError, match=message):
    validate.validate(config, str(tmp_path))
