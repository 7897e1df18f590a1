# Without border cropping and orientation; `finetune` in the place of
# `finetune_corrupted`.
python -m boneage_jax.main --config=configs/best_half.py \
  --config.manual_dir="$DIR" --config.data.crop_borders=False \
  --config.stages="('prepare','baseline_resnet18','inception','finetune', \
  'localizer','regions','assessor','ensemble','report')" \
  --config.ensemble.members="('finetune','localizer','assessor')" \
  --config.report.baselines="('finetune','localizer','assessor','inception', \
  'baseline_resnet18')" \
  --config.baseline_resnet18.input.orientation_from= \
  --config.inception.input.orientation_from= \
  --config.finetune.input.orientation_from= \
  --config.localizer.input.orientation_from= \
  --config.inception.ema=0.98 --config.baseline_resnet18.ema=0.98 \
  --config.inception.pretrained.backbone.path="$INCEPTION_V3" \
  --config.localizer.pretrained.backbone.path="$INCEPTION_V3" \
  --config.assessor.pretrained.carpal.path="$INCEPTION_V3" \
  --config.assessor.pretrained.metacarpal.path="$INCEPTION_V3" \
  --workdir=runs/best_half_borders_kept
python -m boneage_jax.evaluate errors runs/best_half_borders_kept:ensemble \
  runs/best_half_borders_kept:finetune runs/best_half_borders_kept:inception \
  runs/best_half_borders_kept:localizer runs/best_half_borders_kept:assessor \
  runs/best_half_borders_kept:baseline_resnet18
python -m boneage_jax.evaluate compare runs/best_half_borders_kept:ensemble \
  runs/best_half_borders_kept:inception
# The ensemble without `finetune`; with --weights=mean its plain mean.
python -m boneage_jax.evaluate ensemble runs/best_half_borders_kept:inception \
  runs/best_half_borders_kept:localizer runs/best_half_borders_kept:assessor \
  --weights=mae --out=runs/best_half_before
