"""BoNet (Spampinato 2017, route 3): a small net of its own, from nothing.

Stages
  prepare  archive (or phantoms) to array_record
  bonet    five convolutions, a deformation layer and a regression network, on
           crops of films
  report   errors with intervals, beside what papers quote

Whole films validate and test: the net gives an age at each place of its map
where a crop fits, and the film's age is their mean.

  python -m boneage_jax.main --config=configs/bonet.py:phantom
  python -m boneage_jax.main --config=configs/bonet.py:half \
    --config.manual_dir=DIR

Variant: undeformed, the net without its deformation layer. Presets: phantom
(a narrow net, for two cores), half (half-size films); without one, an archive
at full size.
"""

from ml_collections import ConfigDict

from configs import common
from configs import presets
from configs import system
from configs import transfer

# MAE in months, of which films, who says so.
PUBLISHED = (
  (9.6, 'Digital Hand Atlas, 1,391 films', 'Li 2023, introduction'),
  (9.5, 'Digital Hand Atlas, 1,391 films', 'Chen 2020, Table 3'),
)


def get_config(variant: str = '') -> ConfigDict:
  """The system, or a variant or preset of it."""
  config = system.base('bonet', variant)
  config.stages = ('prepare', 'bonet', 'report')
  config.bonet = common.train_stage(
    input=transfer.film_input(transfer.SIZE),  # crops of 224 pixels: paper
    net=common.age_net(
      backbone=dict(name='bonet', width=1.0, deformation=True),
      pool='fc_map',
      output='standardized',  # ours
      sex_features=0,  # paper
      hidden=2048,  # paper
      fc_layers=1,  # paper
    ),
    loss=dict(name='mse', unit=transfer.SD_AGE),  # ours: standardized ages
    optimizer=transfer.sgd()
    # Ours: of the net that finds the deformation.
    | dict(rates=(('^backbone/deform/', 0.1),)),
    batch_size=4,  # paper (Chirawu 2022)
    eval_batch_size=16,
    epochs=60,  # ours
  )
  config.report = common.report_stage(
    stage='bonet',
    paper='Spampinato 2017',
    published=(('bonet', 'BoNet', PUBLISHED),),
  )
  return presets.apply(config, VARIANTS, PRESETS)


def undeformed(config: ConfigDict) -> None:
  """Leave the deformation layer out."""
  config.bonet.net.backbone.deformation = False
  config.bonet.optimizer.rates = ()


def phantom(config: ConfigDict) -> None:
  """A net of a quarter of the width on films of 160 pixels."""
  presets.phantom(config)
  config.bonet.input.size = 160  # ours, as the rest of it
  config.bonet.epochs = 20
  config.bonet.net.hidden = 512
  config.bonet.net.backbone.width = 0.25


def half(config: ConfigDict) -> None:
  """An archive of half-size films."""
  presets.half(config)
  config.bonet.epochs = 20  # ours


VARIANTS = dict(undeformed=undeformed)
PRESETS = dict(phantom=phantom, half=half)
