# One of three folds. `second` was taken out after commit 96aee15.
python -m boneage_jax.main --config=configs/best_half.py \
  --config.manual_dir="$DIR" --config.data.folds=3 --config.data.fold=0 \
  --config.data.crop_borders=False \
  --config.stages="('prepare','inception','finetune','localizer','regions', \
  'assessor','ensemble','report')" \
  --config.ensemble.members="('finetune','localizer','assessor')" \
  --config.report.baselines="('finetune','localizer','assessor','inception')" \
  --config.inception.input.orientation_from= \
  --config.finetune.input.orientation_from= \
  --config.localizer.input.orientation_from= \
  --config.inception.checkpoint_selection=last \
  --config.finetune.checkpoint_selection=last \
  --config.localizer.checkpoint_selection=last \
  --config.assessor.checkpoint_selection=last \
  --config.inception.ema=0.98 --config.finetune.ema=0.98 \
  --config.inception.pretrained.backbone.path="$INCEPTION_V3" \
  --config.localizer.pretrained.backbone.path="$INCEPTION_V3" \
  --config.assessor.pretrained.carpal.path="$INCEPTION_V3" \
  --config.assessor.pretrained.metacarpal.path="$INCEPTION_V3" \
  --workdir=runs/best_half_fold
