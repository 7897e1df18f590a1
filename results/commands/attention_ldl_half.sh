python -m boneage_jax.main --config=configs/attention_ldl.py:table,half \
  --config.manual_dir="$DIR" --config.weights.localizers="$INCEPTION_V3" \
  --config.weights.assessors="$INCEPTION_V3" \
  --config.stages="('prepare','hand_localizer','hand','r1','r2_localizer', \
  'r2','row_o','row_h','row_h_r1','row_h_r1_r2')" \
  --workdir=runs/attention_ldl_half
python -m boneage_jax.evaluate box-thresholds runs/attention_ldl_half:hand
# Other settings: --config.row_h_r1_r2.optimizer.freeze= freezes nothing;
# --config.row_h.net.output=scalar --config.row_h.loss.name=mae is one number.
