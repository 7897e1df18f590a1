"""What a command sets before it uses JAX."""

import contextlib
import ctypes
import gc
import os
import sys

from absl import logging
import jax

from boneage_jax.core import door

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
# New objects between two searches for cycles: to trace a net makes millions,
# and with Python's 700 a fifth of the time until a first answer is searching.
YOUNG = 100_000

LIBTPU_ALONE = {
  'TPU_ACCELERATOR_TYPE': 'v5litepod-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
}


def set_up() -> None:
  """Keep compiled programs and freed memory; silence what Orbax and TFDS say.

  Programs are kept in JAX_COMPILATION_CACHE_DIR, or a folder of the user's.
  """
  logging.set_verbosity(logging.WARNING)
  default = os.path.expanduser('~/.cache/boneage_jax/compiled')
  cache = os.environ.get('JAX_COMPILATION_CACHE_DIR', default)
  jax.config.update('jax_compilation_cache_dir', cache)
  quiet_libtpu()
  keep_freed_memory()
  trace_quickly()
  gc.set_threshold(YOUNG)


def check_device() -> None:
  """Find the devices; after `distributed.join`, where there is one.

  Raises:
    ValueError: there is none of the kind that JAX_PLATFORMS asks for.
  """
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # JAX lists what it has
    asked = os.environ.get('JAX_PLATFORMS', '')
    raise ValueError(
      f'Expected a device of JAX_PLATFORMS={asked}, found none '
      f'({door.reason(error)}): set JAX_PLATFORMS=cpu to use this machine, or '
      "install what the device needs: pip install -e '.[cuda]' or '.[tpu]'."
    ) from error


def quiet_libtpu() -> None:
  """Keep libtpu from asking for a host that it is not on.

  JAX sets TPU_SKIP_MDS_QUERY where the host has no TPU chip. An installed
  libtpu still looks for its kind and its neighbours, and prints ten lines.
  """
  if os.environ.get('TPU_SKIP_MDS_QUERY') == '1':
    for name, value in LIBTPU_ALONE.items():
      os.environ.setdefault(name, value)


def keep_freed_memory() -> None:
  """Keep memory that was freed for the next step, where the C library can.

  On a CPU, XLA takes and frees gigabytes in every step. By default glibc gives
  them back to the system, which clears every page anew: a quarter of a step.
  """
  if not sys.platform.startswith('linux'):
    return
  libc = ctypes.CDLL(None)
  if hasattr(libc, 'gnu_get_libc_version'):
    libc.mallopt(_ARENA_MAX, 1)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)


def trace_quickly() -> None:
  """Keep JAX from writing long messages that nobody reads.

  Flax asks every tracer that it stores for its sharding, and JAX answers with
  an error that tells where the tracer comes from: more than half of all
  tracing. The names are JAX's own; without them tracing is slower.
  """
  with contextlib.suppress(ImportError, AttributeError):
    from jax._src.interpreters import partial_eval

    partial_eval.DynamicJaxprTracer._origin_msg = lambda self: ''
