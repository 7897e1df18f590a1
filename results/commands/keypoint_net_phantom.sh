# The paper's net on phantoms, at half width.
python -m boneage_jax.main --config=configs/hand_geometry.py \
  --config.stages="('prepare','keypoints')" --config.phantom.films=1600 \
  --config.data.validation_fraction=0.08 --config.data.test_fraction=0.15 \
  --config.keypoints.batch_size=16 --config.keypoints.epochs=20 \
  --config.keypoints.ema=0.98 --config.keypoints.input.builder_config=original \
  --config.keypoints.input.size="(65, 50)" --config.keypoints.input.rotate=7.0 \
  --config.keypoints.input.shift=0.04 --config.keypoints.input.zoom=0.08 \
  --config.keypoints.net.width=0.5 --config.keypoints.net.features=128 \
  --config.keypoints.optimizer.learning_rate=2e-3
