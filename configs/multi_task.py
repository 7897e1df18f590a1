"""Two tasks of one net on the whole film: the age and the sex. No paper; ours.

Stages
  prepare      archive (or phantoms) to array_record
  whole_image  that of whole_image.py, which tells the probability of a male too
  report       errors with intervals, and how often the sex is right

The sex is told from the film alone; the age, as in whole_image.py, from the
film and the sex. Where the sex of a film is unknown, `predict` weighs both of
its ages by that probability in the place of one half each.

  python -m boneage_jax.main --config=configs/multi_task.py:phantom
  python -m boneage_jax.main --config=configs/multi_task.py:age_alone,phantom
  python -m boneage_jax.evaluate compare runs/multi_task_phantom \
    runs/multi_task_age_alone,phantom
  python -m boneage_jax.main --config=configs/multi_task.py:thumbnails \
    --config.manual_dir=DIR

Variants: age_alone (the same net without the second task, to compare with).
Presets: phantom, that of whole_image.py; thumbnails (100 px films); without
one, an archive at full size.
"""

from ml_collections import ConfigDict

from configs import presets
from configs import whole_image

SEX_WEIGHT = 5.0  # ours: months of error that a nat of the sex is worth


def get_config(variant: str = '') -> ConfigDict:
  """Both tasks, or the age alone."""
  config = ConfigDict(whole_image.get_config().to_dict())
  config.update(name='multi_task', variant=variant)
  chosen, preset = presets.parse(config, VARIANTS, PRESETS)
  if preset:
    PRESETS[preset](config)
  if 'age_alone' not in chosen:
    stage = config.whole_image
    stage.net.extra_outputs = ('p_male',)
    stage.loss = ConfigDict(stage.loss.to_dict())
    stage.loss.update(name='age_and_sex', sex_weight=SEX_WEIGHT)
  return presets.lock(config)


VARIANTS = ('age_alone',)
PRESETS = dict(
  phantom=whole_image.phantom, thumbnails=whole_image.thumbnails_inception
)
