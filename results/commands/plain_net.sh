# $DIR: the thumbnails. The first line is the preset as it is.
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash --workdir=runs/plain
# With a linear head (shift, momentum and clipping as they were at that time).
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.net.joint_features=0 \
  --config.whole_image.net.dropout=0.0 \
  --config.whole_image.net.bn_momentum=0.95 \
  --config.whole_image.optimizer.grad_clip_norm=5.0 \
  --config.whole_image.input.shift=0.1 --workdir=runs/plain_linear
python -m boneage_jax.evaluate compare runs/plain runs/plain_linear
# Eight epochs of it: as it is, then one change each.
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.epochs=8 --workdir=runs/plain_8
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.input.brightness=0.1 \
  --config.whole_image.input.contrast=0.1 \
  --config.whole_image.input.gamma=0.1 \
  --config.whole_image.input.rotate=7 --config.whole_image.input.zoom=0.05 \
  --config.whole_image.input.shift=0.03 --config.whole_image.input.flip=True \
  --config.whole_image.epochs=8 --workdir=runs/plain_8_light
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.input.brightness=0 \
  --config.whole_image.input.contrast=0 \
  --config.whole_image.epochs=8 --workdir=runs/plain_8_tones_kept
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.net.output=bins \
  --config.whole_image.loss.name=label_distribution \
  --config.whole_image.loss.delta=5.0 --config.whole_image.loss.kl_weight=1.0 \
  --config.whole_image.epochs=8 --workdir=runs/plain_8_bins
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.batch_size=32 --config.whole_image.ema=0.99 \
  --config.whole_image.epochs=8 --workdir=runs/plain_8_batch
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.net.backbone.stem_pool=True \
  --config.whole_image.epochs=8 --workdir=runs/plain_8_pool
for name in light tones_kept bins batch pool; do
  python -m boneage_jax.evaluate compare runs/plain_8_$name runs/plain_8
done
# Two of the changes at the minutes of PyTorch's net.
python -m boneage_jax.main --config=configs/whole_image.py:thumbnails \
  --config.manual_dir="$DIR" --config.data.split=hash \
  --config.whole_image.input.brightness=0 \
  --config.whole_image.input.contrast=0 \
  --config.whole_image.net.output=bins \
  --config.whole_image.loss.name=label_distribution \
  --config.whole_image.loss.delta=5.0 --config.whole_image.loss.kl_weight=1.0 \
  --config.whole_image.epochs=18 --workdir=runs/plain_18
python -m boneage_jax.evaluate compare runs/plain_18 runs/plain
