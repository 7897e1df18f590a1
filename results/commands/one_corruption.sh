# First change `_draw` of boneage_jax/imaging/corruptions.py so that it draws
# that corruption alone: a blur of 2 % here, with --config.data.crop_borders and
# the width as they were.
python -m boneage_jax.main --config=configs/best.py:phantom \
  --config.stages="('prepare','inception','finetune_corrupted')" \
  --config.data.crop_borders=False \
  --config.inception.net.backbone.width=0.25 \
  --config.finetune_corrupted.net.backbone.width=0.25 \
  --config.inception.input.orientation_from= \
  --config.finetune_corrupted.input.orientation_from= \
  --config.finetune_corrupted.input.corruption_prob=1.0 \
  --config.finetune_corrupted.input.rotate=7.0 \
  --config.finetune_corrupted.checkpoint_selection=last \
  --config.finetune_corrupted.epochs=40 --workdir=runs/one_corruption
python -m boneage_jax.evaluate robustness \
  runs/one_corruption:finetune_corrupted
