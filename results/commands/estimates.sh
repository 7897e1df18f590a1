# $DIR: the thumbnails, $HALF: the half-size films; each on one core (taskset -c 0).
# The runs themselves: others_half.sh, transfer_half.sh, and the first of these
# without its last flag.
python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
  --config.stages=prepare,whole_image \
  --config.manual_dir=$DIR --config.whole_image.epochs=8 --dry_run_steps=5
python -m boneage_jax.main --config=configs/transfer.py:inception_v3,finetune,half \
  --config.manual_dir=$HALF --config.data.split=hash \
  --config.finetune.pretrained.backbone.path=$INCEPTION_V3 --dry_run_steps=5
python -m boneage_jax.main --config=configs/larson.py:half \
  --config.manual_dir=$HALF --config.data.split=hash --dry_run_steps=5
