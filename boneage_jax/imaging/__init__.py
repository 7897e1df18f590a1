"""One radiograph as an array: NumPy and OpenCV, no JAX."""
