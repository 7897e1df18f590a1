python -m boneage_jax.main --config=configs/cascade.py:phantom \
  --workdir=runs/cascade_phantom
