# $DIR: half-size films. Masks and points are those of hand_geometry_thumbnails.sh.
# A quarter of the width, and less than half of each side of the input.
flags=()
for region in hand carpal metacarpal; do
  size='(132, 132)'; [ $region = hand ] && size='(176, 132)'
  for kind in regression expectation; do
    for sex in both boys girls; do
      name=${region}_${sex}_$kind
      flags+=("--config.$name.input.size=$size" "--config.$name.epochs=16")
      flags+=("--config.$name.net.backbone.width=0.25")
      if [ $sex != both ]; then
        rate=0.0005; [ $kind = expectation ] && rate=0.00025
        flags+=("--config.$name.init_from.run=:${region}_both_$kind")
        flags+=("--config.$name.epochs=8")
        flags+=("--config.$name.optimizer.learning_rate=$rate")
      fi
    done
  done
done
python -m boneage_jax.main --config=configs/registration.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.geometry_run=runs/geometry \
  --config.register.crop_size='((176, 132), (132, 132), (132, 132))' \
  "${flags[@]}" --workdir=runs/half
python -m boneage_jax.evaluate regions runs/half

# One net of whole films, on the same split.
python -m boneage_jax.main --config=configs/whole_image.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.whole_image.input.size='(176, 132)' \
  --config.whole_image.input.resize=squash \
  --config.whole_image.net.backbone.width=0.4 \
  --config.whole_image.net.bn_momentum=0.95 \
  --config.whole_image.optimizer.learning_rate=2e-3 \
  --config.whole_image.epochs=24 --workdir=runs/whole_half
python -m boneage_jax.evaluate compare runs/half runs/whole_half

# The net of the hand on whole films that are not registered.
python -m boneage_jax.main --config=configs/registration.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.geometry_run=runs/geometry \
  --config.stages=prepare,hand_both_regression \
  --config.hand_both_regression.input.crops_from= \
  --config.hand_both_regression.input.builder_config=original \
  --config.hand_both_regression.input.regions='()' \
  --config.hand_both_regression.input.crop_margin=0.0 \
  --config.hand_both_regression.input.size='(176, 132)' \
  --config.hand_both_regression.net.backbone.width=0.25 \
  --config.hand_both_regression.epochs=16 --workdir=runs/whole_m46
python -m boneage_jax.evaluate compare runs/half:hand_both_regression \
  runs/whole_m46:hand_both_regression
