"""The page of formats against what the code does."""

import conformance
import pytest


@pytest.mark.ci
def test_the_page_is_what_the_script_writes():
  pytest.importorskip('gdcm')
  found = conformance.page()
  assert 'DIFFERS' not in found
  assert found == conformance.PAGE.read_text(encoding='utf-8')
