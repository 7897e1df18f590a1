"""The window of a DICOM film: which values are shown, if it makes sense."""

from typing import Any

import numpy as np

from boneage_jax.imaging import greys

# Of a window that fits: docs/reference/reading.md has the trial.
LEAST_RANGE = 0.1  # of the film's range that it tells apart
LEAST_GREYS = 0.0625  # of its output that the film fills
LEAST_CORRELATION = 0.8  # of the film with and without it


def apply(
  values: np.ndarray, inside: np.ndarray, dataset: Any, pydicom: Any
) -> tuple[np.ndarray | None, bool]:
  """Apply the first VOI LUT or window that fits the film.

  A window's own range of output becomes [0, 1], whatever the film's values
  (PS3.3 C.11.2); a table goes before windows.

  Args:
    values: float64 [H, W], after the modality LUT.
    inside: bool [H, W], the pixels that are of the film.
    dataset: the header.
    pydicom: the package, which is optional.

  Returns:
    [H, W] from 0 to 1, or None without a window; whether there were windows
    and none fits.
  """
  windows = _windows(dataset, pydicom)
  film = values[inside]
  if not windows or film.min() == film.max():
    return None, False
  for window in windows:
    if window is not None and _fits(window, film):
      return window(values), False
  return None, True


def _windows(dataset: Any, pydicom: Any) -> list:
  """List functions of values, None for those that are damaged."""
  windows = []
  if dataset.get('VOILUTSequence'):
    windows.append(_table(dataset, pydicom))
  centers = _numbers(dataset.get('WindowCenter'))
  widths = _numbers(dataset.get('WindowWidth'))
  shape = str(dataset.get('VOILUTFunction') or 'LINEAR').strip()
  for i in range(max(len(centers), len(widths))):
    if i < len(centers) and i < len(widths):
      windows.append(_window(shape, centers[i], widths[i]))
    else:
      windows.append(None)
  return windows


def _numbers(value: Any) -> list[float]:
  """Read one value or several; what is no number becomes NaN."""
  if value is None or value == '':
    return []
  several = not isinstance(value, str) and hasattr(value, '__iter__')
  numbers = []
  for one in value if several else [value]:
    try:
      numbers.append(float(one))
    except (TypeError, ValueError):
      numbers.append(float('nan'))
  return numbers


def _window(shape: str, center: float, width: float):
  """Return a function to [0, 1]; None if there is no such window."""
  narrowest = 1 if shape == 'LINEAR' else 0
  if not (np.isfinite(center) and np.isfinite(width) and width > narrowest):
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
    descriptor = dataset.VOILUTSequence[0].LUTDescriptor
    most = (1 << int(descriptor[2])) - 1
    table = lambda x: (
      pydicom.pixels.apply_voi(np.rint(x).astype(np.int64), dataset) / most
    )
    table(np.zeros((1, 1)))
  except Exception:  # short or missing tables, in any place
    return None
  return lambda x: np.clip(table(x), 0, 1)


def _fits(window, film: np.ndarray) -> bool:
  """Whether a window shows most of what the film holds."""
  low, high = greys.film_range(film)
  steps = window(np.linspace(low, high, 257))
  tells_apart = np.mean(np.abs(np.diff(steps)) > 1e-4)
  few = film[:: max(len(film) // 100_000, 1)]
  shown = window(few)
  plain = np.clip(few, low, high)
  filled = np.ptp(np.percentile(shown, greys.PERCENTILES))
  if tells_apart < LEAST_RANGE or filled < LEAST_GREYS:
    return False
  if not plain.std() or not shown.std():
    return False
  return abs(np.corrcoef(shown, plain)[0, 1]) >= LEAST_CORRELATION
