# Rounds of 150 steps; the control goes on for as many on drawn masks alone.
python -m boneage_jax.main --config=configs/hand_geometry.py:phantom \
  --config.stages="('prepare','segmenter','mine','control')" \
  --config.mine.steps_per_round=150 --config.mine.eval_steps=150 \
  --config.control.steps=450 --config.control.eval_steps=150
