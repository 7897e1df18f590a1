# $DIR: half-size films; $THUMBNAILS: those of 100 px. The runs are those of
# cascade_phantom.sh and transfer_half.sh, and one net of thumbnails.
python -m boneage_jax.evaluate calibrate runs/cascade_phantom
python -m boneage_jax.evaluate quality runs/cascade_phantom --films=500
python -m boneage_jax.evaluate calibrate runs/half_finetune
python -m boneage_jax.evaluate quality runs/half_finetune --films=500
python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
  --config.stages=prepare,whole_image \
  --config.manual_dir=$THUMBNAILS --config.whole_image.epochs=8 \
  --workdir=runs/thumbnails
python -m boneage_jax.evaluate calibrate runs/thumbnails:whole_image
python -m boneage_jax.evaluate quality runs/thumbnails:whole_image --films=500
