# 800 phantoms as they are, and turned and shifted; with and without the layer.
python -m boneage_jax.main --config=configs/bonet.py:phantom \
  --config.phantom.films=800 --workdir=runs/upright
python -m boneage_jax.main --config=configs/bonet.py:undeformed,phantom \
  --config.phantom.films=800 --workdir=runs/upright_undeformed
python -m boneage_jax.evaluate compare runs/upright runs/upright_undeformed
python -m boneage_jax.main --config=configs/bonet.py:phantom \
  --config.phantom.films=800 --config.phantom.turn=30 \
  --config.phantom.shift=0.15 --workdir=runs/turned
python -m boneage_jax.main --config=configs/bonet.py:undeformed,phantom \
  --config.phantom.films=800 --config.phantom.turn=30 \
  --config.phantom.shift=0.15 --workdir=runs/turned_undeformed
python -m boneage_jax.evaluate compare runs/turned runs/turned_undeformed
