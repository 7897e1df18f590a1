python -m boneage_jax.main --config=configs/attention_ldl.py:table,phantom \
  --config.stages="('prepare','hand_localizer','hand','r1_localizer','r1', \
  'r2_localizer','r2','row_h_r1_r2','row_h','row_o','row_h_r1')" \
  --workdir=runs/attention_ldl_phantom
# One number and its absolute error.
python -m boneage_jax.main --config=configs/attention_ldl.py:table,phantom \
  --config.stages="('prepare','hand_localizer','hand','r1_localizer','r1', \
  'r2_localizer','r2','row_h_r1_r2')" \
  --config.row_h_r1_r2.net.output=scalar --config.row_h_r1_r2.loss.name=mae \
  --workdir=runs/attention_ldl_phantom_scalar
python -m boneage_jax.evaluate compare runs/attention_ldl_phantom:row_h \
  runs/attention_ldl_phantom:row_o
