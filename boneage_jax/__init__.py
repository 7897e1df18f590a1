"""Bone age assessment from hand radiographs in JAX."""
