# $DIR: half-size films; $INCEPTION_V3: Keras' no-top weights. Masks and points are
# those of hand_geometry_thumbnails.sh.
python -m boneage_jax.main --config=configs/larson.py:half \
  --config.manual_dir=$DIR --config.data.split=hash --workdir=runs/half_larson
python -m boneage_jax.main --config=configs/pan.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.geometry_run=runs/geometry \
  --config.features_mixed4.pretrained.backbone.path=$INCEPTION_V3 \
  --config.features_mixed7.pretrained.backbone.path=$INCEPTION_V3 \
  --workdir=runs/half_pan
python -m boneage_jax.main --config=configs/ren.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.hand_localizer.pretrained.backbone.path=$INCEPTION_V3 \
  --config.assessor.pretrained.backbone.path=$INCEPTION_V3 \
  --workdir=runs/half_ren
python -m boneage_jax.main --config=configs/lee.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.geometry_run=runs/geometry --workdir=runs/half_lee
python -m boneage_jax.main --config=configs/li2022.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.weights.localizers=$INCEPTION_V3 --workdir=runs/half_li2022
python -m boneage_jax.main --config=configs/zhao.py:half \
  --config.manual_dir=$DIR --config.data.split=hash \
  --config.geometry_run=runs/geometry \
  --config.head.pretrained.backbone.path=$INCEPTION_V3 \
  --workdir=runs/half_zhao
python -m boneage_jax.main --config=configs/bonet.py:half \
  --config.manual_dir=$DIR --config.data.split=hash --config.bonet.epochs=8 \
  --workdir=runs/half_bonet
python -m boneage_jax.main --config=configs/bonet.py:half \
  --config.manual_dir=$DIR --config.data.split=hash --config.bonet.epochs=8 \
  --config.bonet.optimizer.learning_rate=5e-4 --workdir=runs/half_bonet_5e-4
