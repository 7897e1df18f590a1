"""Random arrays from NumPy: JAX compiles a generator for each new shape."""

import jax
import jax.numpy as jnp
import numpy as np


def normal(shape: tuple[int, ...], seed: int = 0) -> jax.Array:
  """Normal deviates, float32."""
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def greys(shape: tuple[int, ...], seed: int = 0) -> jax.Array:
  """Pixels, uint8."""
  return jnp.asarray(
    np.random.default_rng(seed).integers(0, 255, shape), jnp.uint8
  )
