# Earlier nets: check out the commit of the row. In today's words, 108 px for
# nine epochs; the other rows change size, epochs, net.pool and
# optimizer.freeze.
python -m boneage_jax.main --config=configs/best_thumbnails.py \
  --config.manual_dir="$DIR" --config.stages="('prepare','inception')" \
  --config.inception.pretrained.backbone.path="$INCEPTION_V3" \
  --config.inception.input.orientation_from= \
  --config.inception.input.size=108 --config.inception.epochs=9 \
  --config.inception.ema=0.995 --workdir=runs/best_thumbnails_108px
