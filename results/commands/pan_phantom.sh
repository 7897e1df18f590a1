python -m boneage_jax.main --config=configs/pan.py:phantom
