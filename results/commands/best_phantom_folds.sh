# Small nets, each judged on the films of the fold that held them out.
python -m boneage_jax.main --config=configs/best.py:phantom \
  --config.data.folds=3 --config.data.crop_borders=False \
  --config.stages="('prepare','inception','resnet18','ensemble','report')" \
  --config.inception.epochs=16 --config.inception.net.backbone.width=0.25 \
  --config.inception.input.rotate=7.0 \
  --config.inception.input.corruption_prob=0.0 \
  --config.inception.input.orientation_from= \
  --config.resnet18.input.corruption_prob=0.0 \
  --config.resnet18.input.orientation_from= \
  --config.ensemble.members="('inception','resnet18')" \
  --config.report.regions_from= \
  --config.report.baselines="('inception','resnet18')" \
  --workdir=runs/folds_a
python -m boneage_jax.main --config=configs/best.py:phantom \
  --config.data.folds=3 --config.data.crop_borders=False \
  --config.stages="('prepare','localizer','report')" \
  --config.localizer.input.orientation_from= \
  --config.report.stage=localizer --config.report.regions_from= \
  --config.report.baselines="()" --workdir=runs/folds_b
python -m boneage_jax.evaluate ensemble runs/folds_a:inception \
  runs/folds_b:localizer runs/folds_a:resnet18 --weights=mae --out=runs/folds
