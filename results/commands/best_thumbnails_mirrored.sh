# `finetune` with mirrored films as its only augmentation.
python -m boneage_jax.main --config=configs/best_thumbnails.py \
  --config.manual_dir="$DIR" --config.stages="('prepare','finetune')" \
  --config.finetune.input.orientation_from= \
  --config.finetune.init_from.run=runs/best_thumbnails:inception \
  --config.finetune.ema=0.995 --config.finetune.input.rotate=0.0 \
  --config.finetune.input.zoom=0.0 --config.finetune.input.shift=0.0 \
  --config.finetune.input.brightness=0.0 \
  --config.finetune.input.contrast=0.0 --config.finetune.input.gamma=0.0 \
  --workdir=runs/mirrored
python -m boneage_jax.evaluate compare runs/mirrored:finetune \
  runs/best_thumbnails:finetune
