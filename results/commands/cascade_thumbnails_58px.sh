# At commits 01f8318 and cca55ad, in today's words.
python -m boneage_jax.main --config=configs/cascade.py:thumbnails \
  --config.manual_dir="$DIR" --config.stages="('prepare','localizer')" \
  --config.localizer.input.size=58 --config.localizer.epochs=6 \
  --workdir=runs/58px
