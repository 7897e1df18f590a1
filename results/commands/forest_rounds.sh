# $DIR: the thumbnails.
python -m boneage_jax.main --config=configs/forest.py:thumbnails \
  --config.manual_dir=$DIR --config.stages=prepare,rounds
python -m boneage_jax.main --config=configs/forest.py:ossification,thumbnails \
  --config.manual_dir=$DIR --config.stages=prepare,rounds
python -m boneage_jax.main --config=configs/forest.py:phantom \
  --config.stages=prepare,rounds
python -m boneage_jax.main --config=configs/forest.py:ossification,phantom \
  --config.stages=prepare,rounds
