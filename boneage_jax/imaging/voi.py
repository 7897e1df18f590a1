"""The window of a DICOM film: which values are shown, if it makes sense."""

import math
from typing import Any

import numpy as np

from boneage_jax.imaging import dicom_elements
from boneage_jax.imaging import greys

# Of a window that fits: docs/reference/reading.md has the trial.
LEAST_RANGE = 0.1  # of the film's range that it tells apart
LEAST_GREYS = 0.0625  # of its output that the film fills
LEAST_CORRELATION = 0.8  # of the film with and without it
ELEMENTS = ('VOILUTSequence', 'WindowCenter', 'WindowWidth', 'VOILUTFunction')


def apply(
  values: np.ndarray,
  inside: np.ndarray,
  counts: np.ndarray,
  header: dicom_elements.Header,
  pydicom: Any,
) -> np.ndarray | None:
  """Apply the first VOI LUT or window that fits the film.

  A window's own range of output becomes [0, 1], whatever the film's values
  (PS3.3 C.11.2); a table goes before windows. It is noted where there are
  windows and none fits.

  Args:
    values: float64 [N], after the modality LUT.
    inside: bool [N], those that are of the film.
    counts: [N], how many pixels have them.
    header: of the film.
    pydicom: the package, which is optional.

  Returns:
    [N] from 0 to 1, or None without a window.
  """
  windows = _windows(header, pydicom)
  for window in windows:
    if window is not None and _fits(window, values[inside], counts[inside]):
      return window(values)
  if windows:
    header.note('window')
  return None


def _windows(header: dicom_elements.Header, pydicom: Any) -> list:
  """List functions of values, None for those that are damaged."""
  windows = []
  if header.value('VOILUTSequence'):
    windows.append(_table(header.dataset, pydicom))
  centers = header.numbers('WindowCenter')
  widths = header.numbers('WindowWidth')
  shape = header.text('VOILUTFunction') or 'LINEAR'
  if any(map(header.is_void, ELEMENTS)):
    header.note('void_window')
  for i in range(max(len(centers), len(widths))):
    if i < len(centers) and i < len(widths):
      windows.append(_window(shape, centers[i], widths[i]))
    else:
      windows.append(None)
  return windows


def _window(shape: str, center: float, width: float):
  """Return a function to [0, 1]; None if there is no such window."""
  narrowest = 1 if shape == 'LINEAR' else 0
  if not (math.isfinite(center) and math.isfinite(width) and width > narrowest):
    return None
  if shape == 'SIGMOID':
    # Exponents beyond 50 change nothing and might overflow.
    return lambda x: (
      1 / (1 + np.exp(np.clip(-4 * (x - center) / width, -50, 50)))
    )
  if shape == 'LINEAR_EXACT':
    return lambda x: np.clip((x - center) / width + 0.5, 0, 1)
  if shape == 'LINEAR':
    return lambda x: np.clip((x - center + 0.5) / (width - 1) + 0.5, 0, 1)
  return None


def _table(dataset: Any, pydicom: Any):
  """Return the function of a VOI LUT; None if it is damaged."""
  try:
    item = dataset.VOILUTSequence[0]
    entries, _, bits = map(int, item.LUTDescriptor)
    data = item.LUTData
    size = len(data) // 2 if isinstance(data, bytes) else len(data)
    if size < (entries or 1 << 16) and not (bits <= 8 and 2 * size >= entries):
      return None
    most = (1 << bits) - 1
    table = lambda x: (
      pydicom.pixels.apply_voi(np.rint(x).astype(np.int64)[None], dataset)[0]
      / most
    )
    table(np.zeros(1))
  except Exception:  # short or missing tables, in any place
    return None
  return lambda x: np.clip(table(x), 0, 1)


def _fits(window, values: np.ndarray, counts: np.ndarray) -> bool:
  """Whether a window shows most of what the film holds."""
  low, high = greys.film_range(values, counts)
  steps = window(np.linspace(low, high, 257))
  tells_apart = np.mean(np.abs(np.diff(steps)) > 1e-4)
  shown = window(values)
  first, last = greys.percentiles(shown, counts, greys.PERCENTILES)
  if tells_apart < LEAST_RANGE or last - first < LEAST_GREYS:
    return False
  plain = np.clip(values, low, high)
  plain = plain - np.average(plain, weights=counts)
  shown = shown - np.average(shown, weights=counts)
  both, *own = (
    np.sum(counts * a * b)
    for a, b in ((plain, shown), (plain, plain), (shown, shown))
  )
  norm = math.sqrt(own[0] * own[1])
  return norm > 0 and abs(both) / norm >= LEAST_CORRELATION
