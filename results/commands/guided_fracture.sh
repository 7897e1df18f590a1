for seed in 0 1 2; do for weight in 1.0 0.0; do
  python -m boneage_jax.main --config=configs/guided.py:fracture \
    --config.seed=$seed --config.classifier.guidance.weight=$weight \
    --workdir=runs/fracture_${seed}_$weight
done; done
