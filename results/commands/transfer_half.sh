# $DIR: half-size films; $INCEPTION_V3: Keras' no-top weights.
python -m boneage_jax.main \
  --config=configs/transfer.py:inception_v3,offtheshelf,half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.features.pretrained.backbone.path=$INCEPTION_V3 \
  --workdir=runs/half_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:inception_v3,finetune,half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.finetune.pretrained.backbone.path=$INCEPTION_V3 \
  --workdir=runs/half_finetune
python -m boneage_jax.evaluate compare runs/half_finetune runs/half_offtheshelf
