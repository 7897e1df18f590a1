"""Synthetic radiographs of the left hand with a known bone age."""

from boneage_jax.phantom.archive import check_drawn
from boneage_jax.phantom.archive import write_archive
from boneage_jax.phantom.render import make_film

__all__ = ['check_drawn', 'make_film', 'write_archive']
