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
# Without BatchNorm, or with features that are large, the paper's rate diverges:
# these are the largest that were tried and do not.
python -m boneage_jax.main --config=configs/transfer.py:efficientnet,offtheshelf,phantom \
  --config.phantom.films=800 \
  --config.offtheshelf.optimizer.learning_rate=1e-3 \
  --workdir=runs/efficientnet_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:convnext,offtheshelf,phantom \
  --config.phantom.films=800 --workdir=runs/convnext_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:vgg16,offtheshelf,phantom \
  --config.phantom.films=800 \
  --config.offtheshelf.optimizer.learning_rate=2e-7 \
  --workdir=runs/vgg16_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:overfeat,offtheshelf,phantom \
  --config.phantom.films=800 \
  --config.offtheshelf.optimizer.learning_rate=2e-5 \
  --workdir=runs/overfeat_offtheshelf
python -m boneage_jax.main --config=configs/transfer.py:mobilenet_v3,finetune,phantom \
  --config.phantom.films=800 --workdir=runs/mobilenet_v3_finetune
python -m boneage_jax.main --config=configs/transfer.py:resnet,finetune,phantom \
  --config.phantom.films=800 --workdir=runs/resnet_finetune
python -m boneage_jax.main --config=configs/transfer.py:inception_v3,finetune,phantom \
  --config.phantom.films=800 --workdir=runs/inception_v3_finetune
python -m boneage_jax.main --config=configs/transfer.py:xception,finetune,phantom \
  --config.phantom.films=800 --workdir=runs/xception_finetune
python -m boneage_jax.main --config=configs/transfer.py:efficientnet,finetune,phantom \
  --config.phantom.films=800 \
  --workdir=runs/efficientnet_finetune
# At 2e-3 it diverges at step 4.
for rate in 2e-3 2e-4; do
  python -m boneage_jax.main --config=configs/transfer.py:overfeat,finetune,phantom \
    --config.phantom.films=800 \
    --config.finetune.optimizer.learning_rate=$rate \
    --workdir=runs/overfeat_finetune_$rate
done
# At 2e-3 it diverges at step 38.
for rate in 2e-3 5e-4; do
  python -m boneage_jax.main --config=configs/transfer.py:convnext,finetune,phantom \
    --config.phantom.films=800 \
    --config.finetune.optimizer.learning_rate=$rate \
    --workdir=runs/convnext_finetune_$rate
done
# They diverge at steps 2 and 3, but for the last, which moves slowly.
for rate in 2e-3 2e-4 2e-5 2e-6 2e-7 2e-8; do
  python -m boneage_jax.main --config=configs/transfer.py:vgg16,finetune,phantom \
    --config.phantom.films=800 \
    --config.finetune.optimizer.learning_rate=$rate \
    --workdir=runs/vgg16_finetune_$rate
done
python -m boneage_jax.main --config=configs/transfer.py:vgg16,finetune,phantom \
  --config.phantom.films=800 --config.finetune.optimizer.grad_clip_norm=1.0 \
  --config.finetune.optimizer.learning_rate=2e-3 \
  --workdir=runs/vgg16_finetune_clipped
