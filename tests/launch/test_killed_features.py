"""Features of a job that is killed are those of one that is not."""

import cascade_command
import numpy as np
import pytest
import transfer_run

FILES = ('features/features.npz', 'features/done.json')
FILES += ('offtheshelf/metrics.jsonl', 'offtheshelf/predictions.csv')
FILES += ('offtheshelf/age_maps.npz',)
pytestmark = pytest.mark.ci


def test_features_that_are_killed_end_with_the_same_files(
  archive, prepared, tmp_path
):
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  go = lambda folder: cascade_command.start(
    folder, archive, prepared, config=transfer_run
  )
  cascade_command.finish(go(whole))
  features = killed / 'run/features'
  # Once its checkpoint begins, and once features are written.
  cascade_command.kill_when(go(killed), features / 'checkpoints')
  assert not (features / 'done.json').exists(), 'came too late'
  cascade_command.kill_when(go(killed), features / 'features.npz')
  done = (features / 'done.json').exists()  # a moment later, if at all
  text = cascade_command.finish(go(killed))
  assert ('features: already done.' in text) == done
  for name in FILES:
    found, expected = (f / 'run' / name for f in (killed, whole))
    if name.endswith('.npz'):  # which hold the time of writing
      with np.load(found) as one, np.load(expected) as other:
        assert one.files == other.files
        for key in one.files:
          np.testing.assert_array_equal(one[key], other[key], name)
    else:
      assert found.read_bytes() == expected.read_bytes(), name
