# One step of no length: `finetune` as it is, judged with one view.
python -m boneage_jax.main --config=configs/best_thumbnails.py \
  --config.manual_dir="$DIR" --config.stages="('prepare','finetune')" \
  --config.finetune.input.orientation_from= \
  --config.finetune.init_from.run=runs/best_thumbnails:finetune \
  --config.finetune.steps=1 --config.finetune.optimizer.learning_rate=0.0 \
  --config.finetune.optimizer.warmup=0.0 --config.finetune.ema=0.0 \
  --config.finetune.freeze_statistics=True --config.finetune.tta.flip=False \
  --config.finetune.tta.rotate="(0.0,)" --workdir=runs/one_view
python -m boneage_jax.evaluate compare runs/best_thumbnails:finetune \
  runs/one_view:finetune
