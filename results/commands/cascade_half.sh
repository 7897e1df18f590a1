# The cascade alone, with one view.
python -m boneage_jax.main --config=configs/cascade.py:half \
  --config.manual_dir="$DIR" \
  --config.localizer.pretrained.backbone.path="$INCEPTION_V3" \
  --config.assessor.pretrained.carpal.path="$INCEPTION_V3" \
  --config.assessor.pretrained.metacarpal.path="$INCEPTION_V3" \
  --workdir=runs/cascade_half
# Rows that say so: --config.regions.mirror=False.
