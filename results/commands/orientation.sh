# The same for configs/best_half.py and configs/best.py:phantom.
python -m boneage_jax.main --config=configs/best_thumbnails.py \
  --config.manual_dir="$DIR" --config.stages="('prepare','orientation')" \
  --workdir=runs/orientation
