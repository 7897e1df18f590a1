"""Bone age assessment from hand radiographs in JAX."""

__version__ = '0.1.0'
