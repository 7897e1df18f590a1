for weight in 0.0 0.1; do
  python -m boneage_jax.main --config=configs/guided.py:thumbnails \
    --config.manual_dir="$DIR" --config.guided_net.epochs=12 \
    --config.guided_net.guidance.weight=$weight \
    --workdir=runs/guided_$weight
  python -m boneage_jax.evaluate saliency runs/guided_$weight --films=60
done
