# Hands have six visits. films.csv lies where no annotations name their hands.
python -m boneage_jax.phantom --out=visits --films=720 --seed=11 --long_side=160 \
  --visits=6
python -m boneage_jax.phantom --out=fresh --films=300 --seed=77 --long_side=160
mkdir -p alone && sed 's|^boneage|../visits/boneage|' visits/films.csv > alone/films.csv
python -m boneage_jax.main --config=configs/whole_image.py:phantom \
  --config.data.table=alone/films.csv --config.data.test_fraction=0.25 \
  --config.whole_image.input.size=64 --config.whole_image.net.backbone.width=0.25 \
  --config.whole_image.net.backbone.endpoint=mixed0 --config.whole_image.epochs=24 \
  --config.whole_image.eval_steps=180 --workdir=runs/by_hand
python -m boneage_jax.main --config=configs/whole_image.py:phantom \
  --config.data.table=alone/films.csv --config.data.test_fraction=0.25 \
  --config.whole_image.input.size=64 --config.whole_image.net.backbone.width=0.25 \
  --config.whole_image.net.backbone.endpoint=mixed0 --config.whole_image.epochs=24 \
  --config.whole_image.eval_steps=180 --workdir=runs/by_film \
  --config.data.columns.group=
python -m boneage_jax.evaluate external runs/by_hand --data=fresh/films.csv \
  --out=runs/external_by_hand
python -m boneage_jax.evaluate external runs/by_film --data=fresh/films.csv \
  --out=runs/external_by_film
