# Three seeds of the same phantoms; --config.data_dir may share what is prepared.
python -m boneage_jax.main --config=configs/active_segmentation.py:phantom \
  --workdir=runs/active_0
python -m boneage_jax.main --config=configs/active_segmentation.py:phantom \
  --config.seed=1 --workdir=runs/active_1
python -m boneage_jax.main --config=configs/active_segmentation.py:phantom \
  --config.seed=2 --workdir=runs/active_2
python -m boneage_jax.evaluate learning-curve runs/active_0 runs/active_1 \
  runs/active_2
