"""Fields of stages that configs share, what they mean and their usual values.

The arguments of a net or backbone stand in the configs that set them, and all
of them in boneage_jax/models. What a preset sets stands in presets.py.
"""

from ml_collections import ConfigDict

# Keras' inputs: 'inception_v3' and 'xception' in [-1, 1], 'resnet' BGR less
# the ImageNet mean. Grey films are repeated over the three channels.


def image_input(**changes) -> dict:
  """How films become net inputs; augmentation is drawn once per sample."""
  fields = dict(
    builder_config='original',  # of tfds_rsna: 'original', 'px768', 'px512'
    crops_from='',  # or the stage whose crops are read instead of films
    regions=(),  # names of those crops to read, in this order; () is all
    # Or the stage whose features of these films are read in their place.
    features_from='',
    erase_from='',  # or a locate stage whose `erase` is painted over in films
    orientation_from='',  # or the stage whose net turns films upright first
    # Films are shown rotated by 0 to 3 quarters, and that is what the net
    # tells.
    rotate90=False,
    size=300,  # pixels, square; best not the side that the films have
    # Side of the square that training sees, share of the shorter side; films
    # that judge are seen whole. 0: training sees all of them.
    crop=0.0,
    resize='squash',  # or 'letterbox', which keeps the aspect
    polarity='keep',  # or 'invert', for MONOCHROME1 archives
    percentiles=(),  # e.g. (1.0, 99.0): stretch the grey range
    crop_margin=0.0,  # of stored crops; set by the stage that writes them
    rotate=0.0,  # degrees, uniform +-
    zoom=0.0,  # factor, uniform 1 +-
    shift=0.0,  # share of the side, uniform +-
    flip=False,  # left-right, half of the time
    cutout=0,  # rectangles blacked out, each half of the time
    brightness=0.0,  # factor, uniform 1 +-
    contrast=0.0,  # factor, uniform 1 +-
    gamma=0.0,  # exponent, exp(uniform +-)
    corruption_prob=0.0,  # of a corruption of `evaluate robustness`
    sex_dropout=0.0,  # share of samples with the sex unknown
    augment=dict(name=''),  # or one of your own, with its parameters
    sex='',  # or 'M', 'F': films of that sex alone train, validate and test
    masks=(),  # kinds of imaging/masks.py that the net learns to outline
    masks_count=0,  # training films whose drawn mask counts, by id; 0 is all
    masks_films=(),  # ids of training films whose drawn mask counts; () is all
    masks_from='',  # or the stage whose masks of other films count as well
    drawn_share=0.0,  # least share of samples with drawn masks among all; ours
    points=(),  # names of imaging/annotations.py that it learns to find
    # Side of a square (768 for px768): training films go to the device in it,
    # larger ones shrunk, and are augmented there, for hosts of few cores. 0: on
    # the host.
    device_augment=0,
    threads=2,
  )
  return _with(fields, changes)


def light_augmentation() -> dict:
  """Small changes of place and tone, for films of a whole hand; ours."""
  return dict(
    rotate=7.0,
    zoom=0.05,
    shift=0.03,
    flip=True,
    brightness=0.1,
    contrast=0.1,
    gamma=0.1,
  )


def age_net(**changes) -> dict:
  """One net on the whole film."""
  fields = dict(
    name='age_net',
    backbone=dict(name='inception_v3', width=1.0, endpoint='mixed10'),
    attention='none',  # or 'cbam'
    # Or 'gmp', 'mlp', 'cam', 'cam_mean'; a map of ages: 'fc_map', 'gap_map'.
    pool='gap',
    # Or 'scalar', 'standardized', 'unit', see heads.AgeHead; or 'classes'.
    output='bins',
    readout='expectation',  # of the bins, or 'argmax'
    classes=0,  # of output 'classes', how many
    sex_features=32,
    joint_features=0,  # numbers of a hidden layer that sees film and sex
    # Numbers of a film that the head reads, too: 'chronological_age', and that
    # it tells, too: 'p_male', with the loss 'age_and_sex'.
    extra_inputs=(),
    extra_outputs=(),
    dropout=0.0,  # before the last layer; of 'mlp' and maps, before others
    hidden=2048,  # of 'mlp' and maps of ages, numbers in each of their layers
    fc_layers=1,  # of maps of ages, how many such layers
    bn_momentum=0.0,  # of BatchNorm; 0 is the backbone's own
    dtype='float32',
    remat=False,  # maps computed again in the backward pass, for memory
  )
  return _with(fields, changes)


def train_stage(**changes) -> dict:
  """A stage that trains one net; the loop is the same for all."""
  fields = dict(
    job='train',
    # Or 'classification', 'orientation', 'segmentation', 'keypoints'.
    task='age',
    # Added to the seed of the config: members of an ensemble take different
    # ones, or they see the films in one order and err alike.
    seed=0,
    input=image_input(),
    net=age_net(),
    pretrained=dict(),  # backbone's section of the net -> weights()
    # Or weights of a net of an earlier run or stage.
    init_from=dict(
      run='',  # RUN:STAGE, or :STAGE of this run
      only='',  # regex on paths of what is taken; '' is all, of one structure
      ids_are_unrelated=False,  # its film ids stand for other films than ours
    ),
    # Or 'age_histogram', of the training films: where the last layer of bins
    # starts.
    init_bias='',
    loss=label_distribution(),
    guidance=guidance(),
    optimizer=optimizer(),
    batch_size=32,  # over all devices
    accumulate=1,  # slices that a batch goes through the net in, for memory
    eval_batch_size=32,
    # Averaged in the final predictions: films rotated by these degrees and,
    # with flip, mirrored too. Validation in between sees films as they are.
    tta=dict(rotate=(0.0,), flip=False),
    epochs=30,
    steps=0,  # instead of epochs, when not 0
    eval_steps=0,  # between validations; 0 is once an epoch
    # The net that predicts: 'best' on validation, or 'last', which leaves the
    # validation films, as those out of fold, without a part in the net.
    checkpoint_selection='best',
    # Validations without a lower error, after which training ends; 0: never.
    early_stopping=dict(patience=0),
    checkpoint_steps=500,  # between checkpoints; every validation writes one
    log_steps=50,
    profile_steps=(),  # or (10, 15): these are traced, see profiling.py
    ema=0.0,  # decay of the averaged parameters that are evaluated; 0 is off
    freeze_statistics=False,  # BatchNorm keeps its loaded statistics
  )
  return _with(fields, changes)


def finetune(
  section: ConfigDict,
  run: str,
  *,
  learning_rate: float,
  input: dict | None = None,
  **changes,
) -> ConfigDict:
  """A stage that goes on from the net of another; `section` stays as it is.

  Args:
    section: of the stage whose net goes on.
    run: that stage, as in `init_from.run`.
    learning_rate: of the optimizer.
    input: changes of the input.
    **changes: of the section's own fields; its seed gives a new film order.
  """
  new = ConfigDict(section.to_dict()).lock()
  new.init_from.run = run
  new.optimizer.learning_rate = learning_rate
  new.input.update(input or {})
  new.update(changes)
  return new


def locate_stage(**changes) -> dict:
  """A stage that finds regions in the maps of a net, and cuts them."""
  fields = dict(
    job='locate',
    localizer='',  # the stage whose net looks
    previous='',  # or the locate stage whose regions come first
    input=dict(builder_config='original'),  # crops are cut from these films
    # Grad-CAM of the mean logit near the estimate; or 'probability', 'age'.
    target='window',
    method='grad_cam',  # or 'hires_cam', behind maximum pooling
    mirror=False,  # average with the map of the mirrored film
    regions=(),  # names, found in this order
    threshold=(),  # of the map's maximum, one of each region
    component='largest',  # or 'peak', the one with the maximum
    minimum_side=(),  # of the box, share of the film, one of each region
    margin=0.0,  # added to the box, share of its side
    smooth=0.0,  # of the map, Gaussian, share of its side
    fill='black',  # of regions painted over; or 'random_constant'
    erase=(),  # regions of `previous` that are painted over as well
    crops=(),  # regions, 'film' or 'erased' to cut; () cuts none
    crop_size=300,  # pixels
    crop_margin=0.0,  # kept around a crop for augmentation, share of its side
    batch_size=16,
  )
  return _with(fields, changes)


def report_stage(**changes) -> dict:
  """The stage that writes the report."""
  fields = dict(
    job='report',  # or 'classes'
    stage='',  # whose predictions are reported
    regions_from='',  # or the locate stage whose regions are shown
    baselines=(),  # stages to compare with, film by film
    paper='',  # whose system it is, such as 'Chen 2020'
    # Stages beside the paper's figures: (stage, what it is, figures); a figure
    # is (MAE in months, of which films, who says so).
    published=(),
    differs=(),  # from the paper: (what, the paper's, here)
  )
  return _with(fields, changes)


def guidance(**changes) -> dict:
  """Attention drawn to human masks (Liao 2022); by default off."""
  fields = dict(
    weight=0.0,  # lambda
    mask=(),  # kinds of masks.py; a film takes the first that it has
    normalise='per_pixel',  # authors' code; or 'per_image'
    resample='nearest',  # authors' code; or 'bicubic', the paper's
  )
  return _with(fields, changes)


def label_distribution(delta: float = 15.0, kl_weight: float = 0.5) -> dict:
  """L1 of the expectation, and divergence from a Gaussian of `delta` months."""
  return dict(name='label_distribution', delta=delta, kl_weight=kl_weight)


def weights(**changes) -> dict:
  """A file of ImageNet weights for one backbone; no path, no weights."""
  fields = dict(
    path='',  # Keras' no-top .h5; timm's or torchvision's .safetensors
    allow_missing='',  # regex on layer names that the file may lack
    allow_unexpected='',  # regex on layer names that nobody asked for
  )
  return _with(fields, changes)


def optimizer(**changes) -> dict:
  """An update rule with its schedule."""
  fields = dict(
    name='adam',  # 'adam', 'adamw', 'sgd', 'rmsprop'
    learning_rate=3e-4,
    schedule='constant',  # 'constant', 'cosine', 'inverse', 'steps'
    warmup=0.0,  # share of all steps
    lr_decay=0.0,  # of 'inverse': lr / (1 + lr_decay * t)
    boundaries=(),  # of 'steps': shares of all steps
    lr_factors=(),  # of 'steps': multiply the rate at each boundary
    b1=0.9,  # of Adam; of 'sgd', its momentum
    eps=1e-8,  # of Adam and RMSProp
    nesterov=False,  # of 'sgd'
    weight_decay=0.0,
    weight_decay_on='kernels',  # or 'all' parameters
    grad_clip_norm=0.0,  # of all gradients; 0 is off
    freeze='',  # regex on parameter paths that stay as loaded
    # Pairs of a regex on parameter paths and a factor of their rate.
    rates=(),
  )
  return _with(fields, changes)


def fast_optimizer(learning_rate: float = 2e-3) -> dict:
  """For little time; the rate is for nets that start from nothing; ours."""
  return optimizer(
    name='adamw',
    learning_rate=learning_rate,
    schedule='cosine',
    warmup=0.1,
    weight_decay=0.05,
    grad_clip_norm=5.0,
  )


def _with(fields: dict, changes: dict) -> dict:
  unknown = sorted(set(changes) - set(fields))
  if unknown:
    raise ValueError(f'Unknown config fields: {unknown}.')
  return {**fields, **changes}
