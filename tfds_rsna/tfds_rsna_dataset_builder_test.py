"""The test case of TFDS: python -m pytest tfds_rsna, where TensorFlow is."""

import pytest

pytest.importorskip('tensorflow')
pytest.importorskip('dill')

import tensorflow_datasets as tfds

from tfds_rsna import tfds_rsna_dataset_builder


class TfdsRsnaTest(tfds.testing.DatasetBuilderTestCase):
  """Builds dummy_data and reads it through tf.data."""

  DATASET_CLASS = tfds_rsna_dataset_builder.Builder
  SPLITS = {'train': 4, 'validation': 2, 'test': 2}  # noqa: RUF012
  # Archives are local files: os, not gfile.
  MOCK_OUT_FORBIDDEN_OS_FUNCTIONS = False

  def _make_builder(self, config=None):
    # tf.data, which the case reads with, does not read array_record.
    return self.dataset_class(
      data_dir=self.tmp_dir, config=config, file_format='tfrecord'
    )
