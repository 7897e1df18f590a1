# Li 2023, its parts one by one, on 1,600 phantoms; 47 minutes on one core.
python -m boneage_jax.main --config=configs/ablation.py:phantom
python -m boneage_jax.evaluate published runs/ablation_phantom
for stage in exchange_none exchange_mid other_assessor no_sex carpal_alone \
  metacarpal_alone whole_film localizer; do
  python -m boneage_jax.evaluate compare runs/ablation_phantom:$stage \
    runs/ablation_phantom:assessor
done
python -m boneage_jax.evaluate heat-maps runs/ablation_phantom:localizer \
  runs/ablation_phantom:whole_film
