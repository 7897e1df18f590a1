python -m boneage_jax.main --config=configs/multi_task.py:phantom
python -m boneage_jax.main --config=configs/multi_task.py:age_alone,phantom
python -m boneage_jax.evaluate compare runs/multi_task_phantom \
  runs/multi_task_age_alone,phantom
