# The base; each row changes one thing.
python -m boneage_jax.main --config=configs/best_thumbnails.py \
  --config.manual_dir="$DIR" --config.stages="('prepare','inception')" \
  --config.inception.pretrained.backbone.path="$INCEPTION_V3" \
  --config.inception.input.orientation_from= \
  --config.inception.optimizer.freeze= --config.inception.net.pool=gap \
  --config.inception.seed=0 --config.inception.input.size=100 \
  --config.inception.epochs=2 --config.inception.ema=0.99 \
  --config.inception.tta.flip=False --config.inception.tta.rotate="(0.0,)" \
  --workdir=runs/two_epochs
# For example 108 px.
python -m boneage_jax.main --config=configs/best_thumbnails.py \
  --config.manual_dir="$DIR" --config.stages="('prepare','inception')" \
  --config.inception.pretrained.backbone.path="$INCEPTION_V3" \
  --config.inception.input.orientation_from= \
  --config.inception.optimizer.freeze= --config.inception.net.pool=gap \
  --config.inception.seed=0 --config.inception.input.size=108 \
  --config.inception.epochs=2 --config.inception.ema=0.99 \
  --config.inception.tta.flip=False --config.inception.tta.rotate="(0.0,)" \
  --workdir=runs/two_epochs_108px
python -m boneage_jax.evaluate compare runs/two_epochs_108px:inception \
  runs/two_epochs:inception
