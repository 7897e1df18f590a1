# 0 films a class: all 248 are used.
for films in 5 10 20 0; do for weight in 0.0 0.01 0.1 1.0; do
  python -m boneage_jax.main --config=configs/guided.py:fracture \
    --config.data.labelled_per_class=$films \
    --config.classifier.guidance.weight=$weight \
    --workdir=runs/fracture_${films}_$weight
done; done
