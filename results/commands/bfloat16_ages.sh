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
  --config.whole_image.net.joint_features=0 \
  --config.whole_image.net.dropout=0.0 \
  --config.whole_image.net.bn_momentum=0.95 \
  --config.whole_image.optimizer.grad_clip_norm=5.0 \
  --config.whole_image.input.shift=0.1 \
  --workdir=runs/thumbnails_resnet
python -m boneage_jax.predict --workdir=runs/thumbnails_resnet \
  --table="$TABLE" --dtype=float32 --out=thumbnails_float32
python -m boneage_jax.predict --workdir=runs/thumbnails_resnet \
  --table="$TABLE" --dtype=bfloat16 --out=thumbnails_bfloat16
