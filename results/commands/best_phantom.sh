python -m boneage_jax.main --config=configs/best.py:phantom \
  --workdir=runs/best_phantom
# `inception` as it was before strong augmentation.
python -m boneage_jax.main --config=configs/best.py:phantom \
  --config.stages="('prepare','inception')" --config.inception.epochs=16 \
  --config.inception.input.rotate=7.0 \
  --config.inception.input.corruption_prob=0.0 \
  --config.inception.input.orientation_from= \
  --config.data.crop_borders=False --workdir=runs/best_phantom_first
python -m boneage_jax.evaluate errors runs/best_phantom:ensemble \
  runs/best_phantom:finetune_corrupted runs/best_phantom:inception \
  runs/best_phantom:localizer runs/best_phantom:assessor \
  runs/best_phantom:resnet18 runs/best_phantom_first:inception
python -m boneage_jax.evaluate compare runs/best_phantom:ensemble \
  runs/best_phantom:finetune_corrupted
python -m boneage_jax.evaluate robustness runs/best_phantom:ensemble --films=100
python -m boneage_jax.evaluate robustness runs/best_phantom_first:inception \
  --films=100
python -m boneage_jax.evaluate saliency runs/best_phantom:inception --films=60
