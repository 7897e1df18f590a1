for weight in 0.0 0.1; do
  python -m boneage_jax.main --config=configs/guided.py:phantom \
    --config.guided_net.guidance.weight=$weight \
    --workdir=runs/guided_phantom_$weight
done
