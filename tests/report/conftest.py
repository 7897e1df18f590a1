"""The report that tests of this folder read."""

import os

import pytest
import report_run


@pytest.fixture(scope='session')
def run(tmp_path_factory):
  workdir = report_run.workdir(tmp_path_factory.mktemp('run'))
  figures = report_run.write(workdir)
  return figures, os.path.join(workdir, 'report')
