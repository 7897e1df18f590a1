# A step of every system, compiled for TPUs that are not there: libtpu 0.0.42,
# bfloat16, with the least effort.
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5e:2x4 --batch_per_device=64 --fit --quick \
  --config.stages=localizer --config.localizer.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5e:2x4 --batch_per_device=64 --fit --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5p:2x2x1 --batch_per_device=64 --quick \
  --config.stages=localizer --config.localizer.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v5p:2x2x1 --batch_per_device=64 --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/whole_image.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=whole_image --config.whole_image.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/attention_ldl.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=hand_localizer --config.hand_localizer.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/attention_ldl.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=r1_localizer --config.r1_localizer.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/attention_ldl.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/guided.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=guided_net --config.guided_net.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/best.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=inception --config.inception.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/best.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=convnext --config.convnext.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/hand_geometry.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=keypoints --config.keypoints.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/registration.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=hand_both_regression --config.hand_both_regression.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/larson.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/zhao.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/li2022.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/ren.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/lee.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/bonet.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=bonet --config.bonet.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/transfer.py:googlenet \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=finetune --config.finetune.net.dtype=bfloat16
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v6e:2x4 --batch_per_device=64 --quick \
  --config.stages=localizer --config.localizer.net.dtype=bfloat16
# No room for 64 films.
python -m boneage_jax.train_compile --config=configs/hand_geometry.py \
  --topology=v5e:2x4 --batch_per_device=64 --quick \
  --config.stages=segmenter --config.segmenter.net.dtype=bfloat16
# The compiler dies, with its least effort and with its full one.
python -m boneage_jax.train_compile --config=configs/cascade.py \
  --topology=v6e:2x4 --batch_per_device=64 --quick \
  --config.stages=assessor --config.assessor.net.dtype=bfloat16
