# $DIR: the thumbnails. A forest and a net of key points on the same films: 378 of
# the 470 annotated ones train them, then 41.
POINTS="('wrist',"
for finger in thumb forefinger middle_finger ring_finger pinky_finger; do
  for k in 1 2 3 4; do POINTS="$POINTS'$finger$k',"; done
done
POINTS="$POINTS)"
python -m boneage_jax.main --config=configs/forest.py:thumbnails \
  --config.manual_dir=$DIR --config.stages=prepare,forest \
  --config.data.split=hash --workdir=runs/forest_all
python -m boneage_jax.main --config=configs/hand_geometry.py:thumbnails \
  --config.manual_dir=$DIR --config.stages=prepare,keypoints \
  --config.data.split=hash --config.keypoints.input.points="$POINTS" \
  --config.keypoints.net.points=21 --workdir=runs/keypoints_all
python -m boneage_jax.main --config=configs/forest.py:thumbnails \
  --config.manual_dir=$DIR --config.stages=prepare,forest \
  --config.data.split=hash --config.data.validation_fraction=0.08 \
  --config.data.test_fraction=0.82 --workdir=runs/forest_few
python -m boneage_jax.main --config=configs/hand_geometry.py:thumbnails \
  --config.manual_dir=$DIR --config.stages=prepare,keypoints \
  --config.data.split=hash --config.data.validation_fraction=0.08 \
  --config.data.test_fraction=0.82 --config.keypoints.epochs=400 \
  --config.keypoints.input.points="$POINTS" --config.keypoints.net.points=21 \
  --workdir=runs/keypoints_few
