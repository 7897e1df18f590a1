"""What a predictor refuses before it looks at a film."""

import numpy as np
import pytest

from boneage_jax.inference import predictor as predictor_lib


@pytest.mark.parametrize('sex', ['M', 'unknown'])
def test_a_net_of_one_sex_speaks_of_no_other(sex):
  predictor = object.__new__(predictor_lib.Predictor)  # without its nets
  predictor.sexes = ('F',)
  with pytest.raises(ValueError, match='Expected a film of the sex F, as the'):
    predictor.predict(np.eye(8, dtype=np.uint8), sex)
