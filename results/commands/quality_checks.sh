# The runs are those of cascade_phantom.sh, and of whole films in
# registration_half.sh.
python -m boneage_jax.evaluate calibrate runs/cascade_phantom
python -m boneage_jax.evaluate quality runs/cascade_phantom --films=500
python -m boneage_jax.evaluate calibrate runs/whole_half
python -m boneage_jax.evaluate quality runs/whole_half --films=500
