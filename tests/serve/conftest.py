"""What tests of servers share."""

import pytest


@pytest.fixture
def folder(tmp_path):
  """The folder of a DICOM node."""
  from boneage_jax.serve.dicom import folder as folder_lib

  return folder_lib.Folder(str(tmp_path / 'node'))


@pytest.fixture(scope='module')
def served():
  """A client of a server, and the lines of its log."""
  import server  # skips where the extra is not there

  with server.served(films=3, megabytes=1) as made:
    yield made


@pytest.fixture
def browser(served):
  return served[0]
