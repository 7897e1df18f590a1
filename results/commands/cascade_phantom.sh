python -m boneage_jax.main --config=configs/cascade.py:phantom \
  --workdir=runs/cascade_phantom
# Other trainings of the localizer, and where its regions lie.
for seed in 1 2; do
  python -m boneage_jax.main --config=configs/cascade.py:phantom \
    --config.stages=prepare,localizer,regions --config.localizer.seed=$seed \
    --workdir=runs/cascade_phantom_$seed
done
