# Longer, on more phantoms.
python -m boneage_jax.main --config=configs/cascade.py:phantom \
  --config.phantom.films=8000 --config.localizer.epochs=12 \
  --config.assessor.epochs=20 --config.regions.mirror=False \
  --workdir=runs/cascade_phantom_long
