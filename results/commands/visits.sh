# What does a split by film claim, if hands have several visits?
python -m boneage_jax.phantom --out=visits --films=720 --seed=11 --long_side=160 \
  --visits=6
python -m boneage_jax.phantom --out=fresh --films=300 --seed=77 --long_side=160
train="python -m boneage_jax.main --config=configs/whole_image.py:phantom \
  --config.data.table=visits/films.csv --config.data.test_fraction=0.25 \
  --config.whole_image.input.size=96 --config.whole_image.net.backbone.width=0.35 \
  --config.whole_image.epochs=24"
$train --workdir=runs/by_group
$train --config.data.columns.group= --workdir=runs/by_film
for by in group film; do
  python -m boneage_jax.evaluate external runs/by_$by --data=fresh/films.csv \
    --out=runs/external_by_$by
done
