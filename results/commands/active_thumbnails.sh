# $DIR: the thumbnails. For the seeds 1 and 2 the archive had the 77 outlined films
# alone, as the masks of the others change nothing here and take a third of the time.
python -m boneage_jax.main --config=configs/active_segmentation.py:thumbnails \
  --config.manual_dir=$DIR --config.data.folds=5 \
  --config.data.test_fraction=0 --workdir=runs/active_thumbnails_0
python -m boneage_jax.main --config=configs/active_segmentation.py:thumbnails \
  --config.manual_dir=$DIR --config.data.folds=5 \
  --config.data.test_fraction=0 --config.seed=1 \
  --workdir=runs/active_thumbnails_1
python -m boneage_jax.main --config=configs/active_segmentation.py:thumbnails \
  --config.manual_dir=$DIR --config.data.folds=5 \
  --config.data.test_fraction=0 --config.seed=2 \
  --workdir=runs/active_thumbnails_2
python -m boneage_jax.evaluate learning-curve runs/active_thumbnails_0 \
  runs/active_thumbnails_1 runs/active_thumbnails_2
