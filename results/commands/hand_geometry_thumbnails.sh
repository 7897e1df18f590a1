# $DIR: the thumbnails. The nets are those of registration_half.sh.
python -m boneage_jax.main --config=configs/hand_geometry.py:thumbnails \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.data.validation_fraction=0.1 --workdir=runs/geometry
