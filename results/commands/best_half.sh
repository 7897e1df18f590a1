python -m boneage_jax.main --config=configs/best_half.py \
  --config.manual_dir="$DIR" \
  --config.inception.pretrained.backbone.path="$INCEPTION_V3" \
  --config.localizer.pretrained.backbone.path="$INCEPTION_V3" \
  --config.assessor.pretrained.carpal.path="$INCEPTION_V3" \
  --config.assessor.pretrained.metacarpal.path="$INCEPTION_V3" \
  --workdir=runs/best_half
python -m boneage_jax.evaluate errors runs/best_half:ensemble \
  runs/best_half:finetune_corrupted runs/best_half:inception \
  runs/best_half:localizer runs/best_half:assessor
python -m boneage_jax.evaluate compare runs/best_half:finetune_corrupted \
  runs/best_half:inception
# Measured with one view: --config.STAGE.tta.flip=False and
# --config.STAGE.tta.rotate="(0.0,)" of both.
python -m boneage_jax.evaluate robustness runs/best_half:inception --films=100
python -m boneage_jax.evaluate robustness runs/best_half:finetune_corrupted \
  --films=100
