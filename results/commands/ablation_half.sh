# Li 2023, its parts one by one, on half-size films; 115 minutes on one core.
python -m boneage_jax.main --config=configs/ablation.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.weights.inception_v3=$INCEPTION_V3
python -m boneage_jax.evaluate published runs/ablation_half
for stage in no_sex carpal_alone metacarpal_alone whole_film \
  whole_film_inception localizer; do
  python -m boneage_jax.evaluate compare runs/ablation_half:$stage \
    runs/ablation_half:assessor
done
