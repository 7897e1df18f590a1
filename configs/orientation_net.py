"""The net that says which way up a film is; configs share it."""

from configs import common


def stage() -> dict:
  """A small net that tells by how many quarters a film is rotated; ours."""
  return common.train_stage(
    task='orientation',
    input=common.image_input(
      size=96,
      percentiles=(1.0, 99.0),
      rotate90=True,
      corruption_prob=0.5,
      **common.light_augmentation() | {'rotate': 25.0},
    ),
    net=common.age_net(
      backbone=dict(name='inception_v3', width=0.25, endpoint='mixed2'),
      pool='cam_mean',
      output='classes',
      classes=4,
      sex_features=0,
      bn_momentum=0.9,
    ),
    loss=dict(name='cross_entropy'),
    optimizer=common.fast_optimizer(),
    batch_size=16,
    epochs=0,
    steps=2000,
    eval_steps=200,
  )
