python -m boneage_jax.sweep --config=configs/whole_image.py:phantom \
  --config.whole_image.epochs=4 --seeds=2 \
  --grid=whole_image.optimizer.learning_rate=1e-3,2e-3,4e-3
