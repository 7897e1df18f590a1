# $DIR: the thumbnails; $HALF: the half-size films. Without test films, so that
# every annotated film is read by the fold that was not trained on it.
python -m boneage_jax.main --config=configs/hand_geometry.py:thumbnails \
  --config.manual_dir=$DIR --config.stages=prepare,segmenter,keypoints \
  --config.data.split=hash --config.data.folds=5 \
  --config.data.test_fraction=0.0 --workdir=runs/geometry_folds
# The same films at half size, which the same fold holds out: points alone.
for fold in 0 1 2 3 4; do
  python -m boneage_jax.main --config=configs/registration.py:half \
    --config.manual_dir=$HALF --config.stages=prepare,keypoints,register \
    --config.data.split=hash --config.data.folds=5 --config.data.fold=$fold \
    --config.data.test_fraction=0.0 \
    --config.geometry_run=runs/geometry_folds/fold_$fold \
    --config.register.masks_from= --config.register.background=keep \
    --config.register.regions="('hand',)" \
    --config.register.crop_size="((130, 100),)" --workdir=runs/half_fold_$fold
done
