python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5e:2x4 --quick
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5p:2x2x1 --quick
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v6e:2x4 --batch_per_device=8
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5e:2x4 --batch_per_device=128 --fit --quick \
  --config.stages="('localizer',)"
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages="('localizer',)" --config.localizer.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages="('assessor',)" --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/whole_image.py \
  --topology=v5e:2x2 --quick --config.stages=whole_image
python -m boneage_jax.train_compile --config=configs/whole_image.py \
  --topology=v5e:2x2 --quick --config.stages=whole_image \
  --config.whole_image.net.remat=True
