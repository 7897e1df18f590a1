# Random weights.
python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
  --config.manual_dir="$DIR" --workdir=runs/cascade_thumbnails
python -m boneage_jax.evaluate ensemble runs/cascade_thumbnails:whole_image \
  runs/cascade_thumbnails:assessor runs/cascade_thumbnails:localizer \
  --weights=mae --out=runs/cascade_thumbnails_ensemble
# The whole-film net alone.
python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
  --config.stages=prepare,whole_image \
  --config.manual_dir="$DIR" --workdir=runs/whole_image
