# Without the stage `orientation`, and judged by averaged parameters.
python -m boneage_jax.main --config=configs/best_thumbnails.py \
  --config.manual_dir="$DIR" \
  --config.stages="('prepare','baseline_resnet18','inception','finetune', \
  'finetune_140px','finetune_corrupted','report')" \
  --config.inception.pretrained.backbone.path="$INCEPTION_V3" \
  --config.baseline_resnet18.input.orientation_from= \
  --config.inception.input.orientation_from= \
  --config.finetune.input.orientation_from= \
  --config.finetune_140px.input.orientation_from= \
  --config.finetune_corrupted.input.orientation_from= \
  --config.baseline_resnet18.ema=0.995 --config.inception.ema=0.995 \
  --config.finetune.ema=0.995 --config.finetune_140px.ema=0.995 \
  --config.finetune_corrupted.ema=0.995 --workdir=runs/best_thumbnails
python -m boneage_jax.evaluate ensemble runs/best_thumbnails:inception \
  runs/best_thumbnails:finetune runs/best_thumbnails:finetune_140px \
  runs/best_thumbnails:finetune_corrupted --weights=mae --out=runs/ensemble
python -m boneage_jax.evaluate errors runs/best_thumbnails:finetune_140px \
  runs/best_thumbnails:finetune_corrupted runs/best_thumbnails:finetune \
  runs/best_thumbnails:inception runs/best_thumbnails:baseline_resnet18 \
  runs/ensemble
python -m boneage_jax.evaluate compare runs/best_thumbnails:finetune_140px \
  runs/best_thumbnails:finetune
python -m boneage_jax.evaluate calibrate runs/best_thumbnails
python -m boneage_jax.evaluate robustness runs/best_thumbnails:finetune_140px \
  --films=100
python -m boneage_jax.evaluate robustness \
  runs/best_thumbnails:finetune_corrupted --films=100
