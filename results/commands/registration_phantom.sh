python -m boneage_jax.main --config=configs/registration.py:phantom
python -m boneage_jax.evaluate regions runs/registration_phantom
