# 800 phantoms; each backbone by both routes, as far as there are rows.
python -m boneage_jax.main --config=configs/transfer.py:googlenet,offtheshelf,phantom \
  --config.phantom.films=800 --workdir=runs/googlenet_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:mobilenet_v3,offtheshelf,phantom \
  --config.phantom.films=800 --workdir=runs/mobilenet_v3_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:resnet,offtheshelf,phantom \
  --config.phantom.films=800 --workdir=runs/resnet_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:inception_v3,offtheshelf,phantom \
  --config.phantom.films=800 --workdir=runs/inception_v3_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:xception,offtheshelf,phantom \
  --config.phantom.films=800 --workdir=runs/xception_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:googlenet,finetune,phantom \
  --config.phantom.films=800 --workdir=runs/googlenet_finetune
