"""Packages that are optional: imported, or named with their remedy."""

import json

import pytest

from boneage_jax.core import optional


def test_the_first_module_comes_back():
  assert optional.load('A test', 'test', 'json', 'json.decoder') is json


@pytest.mark.parametrize('modules', [['not_there'], ['json', 'not_there.part']])
def test_a_missing_package_is_named_with_its_remedy(modules):
  expected = r"A test needs not_there: pip install -e '\.\[own\]' in the clone"
  with pytest.raises(ValueError, match=expected):
    optional.load('A test', 'own', *modules)
