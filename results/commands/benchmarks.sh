python -m benchmarks.train_step --peers torch
python -m benchmarks.train_step --peers keras
python -m benchmarks.predict --peers torch
python -m benchmarks.predict --peers keras
python -m benchmarks.first_step --turns=2
python -m benchmarks.input_pipeline
python -m benchmarks.end_to_end
python -m benchmarks.end_to_end --config=configs/cascade.py:phantom \
  --batch=16 --long_side=512
python -m benchmarks.scaling
python -m boneage_jax.phantom --out="$DIR" --films=600 --long_side=512
python -m tfds_rsna.build --config=px768 --manual_dir="$DIR"
python -m benchmarks.film --run=runs/cascade_phantom
python -m benchmarks.serve_load --workdir=runs/cascade_phantom
python -m benchmarks.dicom_node --workdir=runs/cascade_phantom --films=100 \
  --kills=2
time python -m boneage_jax.predict --workdir=runs/cascade_phantom film.png --sex=F
python -m benchmarks.predict_films --run=runs/cascade_phantom --films=1000
python -m benchmarks.model_file --workdir=runs/cascade_phantom --films=100
python -m benchmarks.file_to_answer --run=runs/cascade_phantom --films=96
python -m benchmarks.feeding --rate v5e_localizer=13980 v5e_assessor=4151
python -m benchmarks.train_step --nets resnet50 inception_v3 xception \
  --dtype float32 bfloat16 --peers none --repeats 3
python -m benchmarks.predict --nets resnet50 inception_v3 xception \
  --dtype float32 bfloat16 --batches 8 --peers none
python -m benchmarks.whole_run
python -m benchmarks.convolutions
python -m benchmarks.accelerator --preset=phantom --films=8 --size=160 --steps=2 \
  --long_side=1000 --out=accelerator.csv
python -m benchmarks.site_correction
python -m benchmarks.site_correction --run=runs/half_finetune
python -m benchmarks.site_correction --run=runs/thumbnails:whole_image
