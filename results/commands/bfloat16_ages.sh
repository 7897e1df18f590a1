# Ages in float32 and bfloat16 of 1,000 phantoms, and of the first 1,000 test films
# of the thumbnails ($DIR; $TABLE names each film's picture and sex).
python -m boneage_jax.main --config=configs/whole_image.py:phantom \
  --workdir=runs/whole_image_phantom
python -m boneage_jax.phantom --out=films --films=1000 --long_side=512 --seed=77
python -m boneage_jax.predict --workdir=runs/whole_image_phantom \
  --table=films/films.csv --dtype=float32 --out=phantoms_float32
python -m boneage_jax.predict --workdir=runs/whole_image_phantom \
  --table=films/films.csv --dtype=bfloat16 --out=phantoms_bfloat16
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.net.backbone.name=resnet \
  --config.whole_image.net.backbone.depth=18 \
  --config.whole_image.net.backbone.width=0.5 \
  --config.whole_image.net.backbone.stem_kernel=5 \
  --config.whole_image.net.backbone.stem_pool=False \
  --config.whole_image.net.backbone.endpoint=stage4 \
  --config.whole_image.net.backbone.in_channels=1 \
  --config.whole_image.net.backbone.variant=v1.5 \
  --config.whole_image.net.pool=gap \
  --config.whole_image.net.output=standardized \
  --config.whole_image.net.sex_features=32 \
  --config.whole_image.loss.name=mae --config.whole_image.loss.unit=41.2 \
  --config.whole_image.batch_size=64 --config.whole_image.epochs=22 \
  --config.whole_image.ema=0.0 --config.whole_image.input.rotate=15 \
  --config.whole_image.input.zoom=0.15 --config.whole_image.input.shift=0.1 \
  --config.whole_image.input.flip=False \
  --config.whole_image.input.brightness=0.1 \
  --config.whole_image.input.contrast=0.2 --config.whole_image.input.gamma=0 \
  --config.whole_image.input.percentiles="(1.0,99.5)" \
  --workdir=runs/thumbnails_resnet
python -m boneage_jax.predict --workdir=runs/thumbnails_resnet \
  --table="$TABLE" --dtype=float32 --out=thumbnails_float32
python -m boneage_jax.predict --workdir=runs/thumbnails_resnet \
  --table="$TABLE" --dtype=bfloat16 --out=thumbnails_bfloat16
