"""Keras' nets on the JAX backend: keras.applications."""

import os

os.environ.setdefault('KERAS_BACKEND', 'jax')

import jax
import keras
import numpy as np

from benchmarks import nets

APPLICATIONS = {
  'inception_v3': keras.applications.InceptionV3,
  'xception': keras.applications.Xception,
  'resnet50': keras.applications.ResNet50,
}


def age_net(name: str, size: int) -> keras.Model:
  """One or two backbones, pooled, with sex, to 240 logits."""
  two = name == 'two_stream'
  names = ('xception', 'resnet50') if two else (name,)
  images = [keras.Input((size, size, 3)) for _ in names]
  sex = keras.Input((1,))
  z = []
  for kind, image in zip(names, images, strict=True):
    backbone = APPLICATIONS[kind](include_top=False, weights=None)
    x = backbone(image)
    if two:
      x = keras.layers.Conv2D(256, 3, use_bias=False)(x)
      z.append(keras.layers.Flatten()(keras.layers.MaxPooling2D(3, 3)(x)))
    else:
      z.append(keras.layers.GlobalAveragePooling2D()(x))
  z = keras.layers.Concatenate()([*z, keras.layers.Dense(32)(sex)])
  logits = keras.layers.Dense(240, dtype='float32')(z)
  return keras.Model([*images, sex], logits)


def loss(age, logits):
  """Compute age.label_distribution, delta 10 and KL weight 1."""
  months = keras.ops.arange(240, dtype='float32')
  label = keras.ops.log_softmax(-0.5 * ((months - age) / 10) ** 2)
  log_p = keras.ops.log_softmax(logits)
  error = keras.ops.abs(
    age[:, 0] - keras.ops.sum(keras.ops.exp(log_p) * months, -1)
  )
  kl = keras.ops.sum(keras.ops.exp(label) * (label - log_p), -1)
  return error + kl


class Net:
  """A net with a batch, compiled by XLA."""

  def __init__(self, name: str, batch: dict[str, np.ndarray], dtype: str):
    if keras.backend.backend() != 'jax':
      raise RuntimeError(f'KERAS_BACKEND is {keras.backend.backend()}, not jax')
    policy = 'mixed_bfloat16' if dtype == 'bfloat16' else 'float32'
    keras.config.set_dtype_policy(policy)
    images = nets.images(batch)
    self.net = age_net(name, images[0].shape[1])
    self.net.compile(keras.optimizers.Adam(3e-4), loss)
    put = lambda x: jax.device_put(np.asarray(x, np.float32))
    self.inputs = [put(x) for x in (*images, batch['sex'][:, None])]
    self.age = put(batch['age'][:, None])

  def train(self) -> None:
    """Run one step: forward, backward, Adam."""
    self.net.train_on_batch(self.inputs, self.age)
    jax.block_until_ready([v.value for v in self.net.trainable_variables])

  def predict(self) -> None:
    """Run inference to the logits of the bins."""
    self.net.predict_on_batch(self.inputs)
