"""Pictures as the bytes of a file."""

import cv2
import numpy as np


def encode(image: np.ndarray, suffix: str = '.png', options=()) -> bytes:
  """Bytes of a PNG, or of the format of `suffix`, by OpenCV."""
  return cv2.imencode(suffix, np.ascontiguousarray(image), options)[1].tobytes()
