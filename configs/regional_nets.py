"""Iglovikov 2017: eighteen age nets, of three regions, for girls, boys, both.

A net sees one region of a registered hand and no sex. Regression tells one
number, expectation the mean age of 240 bins. The sections are for a config with
a stage `register`, whose crops they read. Their means are by region, by kind
and of all: a net of boys and one of girls are one member of them.
"""

from configs import common

# Height and width of the net's input. Hand: authors' code; others: ours.
SIZES = dict(hand=(500, 375), carpal=(375, 375), metacarpal=(300, 700))
SEXES = dict(both='', boys='M', girls='F')  # paper
KINDS = ('regression', 'expectation')  # paper
CROP_MARGIN = 0.1  # ours; that of the stage that cuts the crops
FIRST = 'both'  # its nets come before those of one sex


def age_stages(
  sizes: dict | None = None, width: float = 1.0, from_both: bool = False
) -> dict[str, dict]:
  """Describe the stages, each region's and kind's net of both sexes first.

  Args:
    sizes: region -> height and width of the input; SIZES by default.
    width: scales the channels of the net and its hidden layers.
    from_both: whether nets of one sex go on from the net of both.

  Returns:
    `<region>_<sex>_<kind>`, as carpal_girls_expectation -> section.
  """
  return {
    name(region, sex, kind): age_stage(
      region,
      sex,
      kind,
      size,
      width,
      seed,
      name(region, FIRST, kind) if from_both and sex != FIRST else '',
    )
    for region, size in (sizes or SIZES).items()
    for seed, kind in enumerate(KINDS)
    for sex in SEXES
  }


def ensembles() -> dict[str, dict]:
  """Describe the means of the nets: of each region, of each kind, of all.

  Returns:
    hand_nets, ..., regression_nets, ... and, of all, ensemble -> section.
  """
  regions = tuple(SIZES)
  members = {f'{region}_nets': _members((region,), KINDS) for region in regions}
  members |= {f'{kind}_nets': _members(regions, (kind,)) for kind in KINDS}
  members['ensemble'] = _members(regions, KINDS)
  return {
    # Paper: plain means. Ours, of all: fitted on validation films.
    name: dict(
      job='ensemble',
      members=of,
      weights='mae' if name == 'ensemble' else 'mean',
    )
    for name, of in members.items()
  }


def _members(
  regions: tuple[str, ...], kinds: tuple[str, ...]
) -> tuple[str, ...]:
  """Name the nets of both sexes, and the pairs of nets of one sex."""
  return tuple(
    '+'.join(name(region, sex, kind) for sex in sexes)
    for region in regions
    for kind in kinds
    for sexes in (('both',), ('boys', 'girls'))
  )


def name(region: str, sex: str, kind: str) -> str:
  """Name the stage of a region, of a sex of SEXES and a kind of KINDS."""
  return f'{region}_{sex}_{kind}'


def age_stage(
  region: str,
  sex: str,
  kind: str,
  size: tuple[int, int],
  width: float,
  seed: int,
  before: str,
) -> dict:
  """Describe one net; `before` is the stage it goes on from, or ''."""
  bins = kind == 'expectation'
  return common.train_stage(
    seed=seed,  # ours
    input=common.image_input(
      builder_config='',
      crops_from='register',
      regions=(region,),
      sex=SEXES[sex],
      size=size,
      crop_margin=CROP_MARGIN,
      rotate=5.0,  # authors' code
      zoom=0.05,  # authors' code
      shift=0.05,  # authors' code
      gamma=0.2,  # authors' code: exponents of 0.8 to 1.2
      # Paper: from the least grey to the greatest. Ours: less 1 %, as the edge
      # of a mask is mixed with black.
      percentiles=(1.0, 99.0),
    ),
    net=common.age_net(
      name='region_channels',  # of one region
      backbone=dict(name='m46', width=width, endpoint='block6'),
      pool='mlp',  # authors' code
      output='bins' if bins else 'unit',  # paper
      sex_features=0,  # paper
      dropout=0.3,  # authors' code
      hidden=round(2048 * width),  # authors' code at width 1
    ),
    # Paper: where there are bins, of their expectation. Ours: in one unit.
    loss=dict(name='mae', unit=120.0),
    # Ours; a net that goes on keeps the bias that it comes with.
    init_bias='age_histogram' if bins and not before else '',
    init_from=dict(
      run=f':{before}' if before else '', only='', ids_are_unrelated=False
    ),
    optimizer=common.optimizer(
      name='adam',  # authors' code
      learning_rate=2e-5,  # authors' code
      b1=0.5,  # authors' code
    ),
    batch_size=8,  # authors' code
    eval_batch_size=8,
    epochs=50,  # authors' code
    checkpoint_selection='best',  # authors' code
  )


def resnet50_stage(
  size: tuple[int, int] = SIZES['hand'], width: float = 1.0
) -> dict:
  """Describe a ResNet-50 on the hand; ours: the abstract names it, no more."""
  section = age_stage('hand', 'both', 'regression', size, width, 2, '')
  section['net'].update(
    backbone=dict(name='resnet', depth=50, width=width),
    pool='gap',
    dropout=0.0,
  )
  return section
