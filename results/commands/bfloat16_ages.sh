# Ages in float32 and bfloat16 of 1,000 phantoms, and of the first 1,000 test films
# of the thumbnails ($TABLE names each film's picture and sex). runs/plain_linear is
# that of plain_net.sh.
python -m boneage_jax.main --config=configs/whole_image.py:phantom \
  --workdir=runs/whole_image_phantom
python -m boneage_jax.phantom --out=films --films=1000 --long_side=512 --seed=77
python -m boneage_jax.predict --workdir=runs/whole_image_phantom \
  --table=films/films.csv --dtype=float32 --out=phantoms_float32
python -m boneage_jax.predict --workdir=runs/whole_image_phantom \
  --table=films/films.csv --dtype=bfloat16 --out=phantoms_bfloat16
python -m boneage_jax.predict --workdir=runs/plain_linear \
  --table="$TABLE" --dtype=float32 --out=thumbnails_float32
python -m boneage_jax.predict --workdir=runs/plain_linear \
  --table="$TABLE" --dtype=bfloat16 --out=thumbnails_bfloat16
