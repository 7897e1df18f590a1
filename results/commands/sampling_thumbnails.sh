# The first net at 140 px for one epoch, once by the code of commit 4631305, once
# by the same code with the function `warp` of imaging/geometry.py at 7047685.
# seed 2 with the views of the config, seed 3 with one.
for seed in 2 3; do
  views=()
  [ $seed = 3 ] && views=(
    --config.inception.tta.flip=False "--config.inception.tta.rotate=(0.0,)"
  )
  python -m boneage_jax.main --config=configs/best_thumbnails.py \
    --config.manual_dir="$DIR" --config.stages="('prepare','inception')" \
    --config.inception.pretrained.backbone.path="$INCEPTION_V3" \
    --config.inception.input.orientation_from= --config.inception.seed=$seed \
    --config.inception.input.size=140 --config.inception.epochs=1 \
    "${views[@]}" --workdir=runs/sampling_$seed
done
python -m boneage_jax.evaluate compare runs/sampling_2:inception \
  runs/sampling_before_2:inception
