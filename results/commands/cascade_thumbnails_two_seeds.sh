# The base with each of two seeds. Rows add one of
# --config.localizer.net.sex_features=0
# --config.localizer.input.sex_dropout=0.1
# --config.localizer.input.corruption_prob=0.3
# --config.data.crop_borders=True
for seed in 0 1; do
  python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
    --config.manual_dir="$DIR" --config.stages="('prepare','localizer')" \
    --config.localizer.input.size=58 --config.localizer.epochs=6 \
    --config.seed=$seed --workdir=runs/base_$seed
done
python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
  --config.manual_dir="$DIR" --config.stages="('prepare','localizer')" \
  --config.localizer.input.size=58 --config.localizer.epochs=6 \
  --config.seed=0 --config.localizer.net.sex_features=0 \
  --workdir=runs/no_sex_0
python -m boneage_jax.evaluate compare runs/no_sex_0:localizer \
  runs/base_0:localizer
