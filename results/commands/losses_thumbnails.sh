# $DIR: the thumbnails; ordinal.py of docs/how-to/extend.md in the folder.
for seed in 0 1; do
  python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
    --config.stages=prepare,whole_image \
    --config.manual_dir=$DIR --config.whole_image.epochs=3 --config.seed=$seed \
    --workdir=runs/label_distribution_$seed
  python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
    --config.stages=prepare,whole_image \
    --config.manual_dir=$DIR --config.whole_image.epochs=3 --config.seed=$seed \
    --config.imports=ordinal --config.whole_image.net.name=ordinal_net \
    --config.whole_image.loss.name=ordinal --workdir=runs/ordinal_$seed
  python -m boneage_jax.evaluate compare runs/ordinal_$seed:whole_image \
    runs/label_distribution_$seed:whole_image
done
for weight in 0.01 1.0; do
  python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
    --config.stages=prepare,whole_image \
    --config.manual_dir=$DIR --config.whole_image.epochs=3 \
    --config.imports=ordinal --config.whole_image.net.name=ordinal_net \
    --config.whole_image.loss.name=ranking \
    --config.whole_image.loss.monotonic=$weight --workdir=runs/ranking_$weight
  python -m boneage_jax.evaluate compare runs/ranking_$weight:whole_image \
    runs/label_distribution_0:whole_image
done
