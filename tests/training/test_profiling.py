"""A trace of some steps is written, changes nothing, and can be read."""

import glob
import json
import pathlib
import re

import jax
from ml_collections import ConfigDict
import pytest
import tiny_cascade

from boneage_jax.core import config as config_lib
from boneage_jax.training import loop
from boneage_jax.training import profiling
from configs import common

PAGE = pathlib.Path(common.__file__).parents[1] / 'docs/how-to/profile.md'


@pytest.mark.parametrize(
  'steps', [(3,), (0, 4), (5, 4), (1, 2, 3), (1.0, 2), ('1', '2')]
)
def test_steps_that_cannot_be_traced_are_refused(steps):
  section = ConfigDict(common.train_stage())
  for good in ((), (1, 1), [10, 15]):
    section.profile_steps = tuple(good)
    profiling.check(section, 'net')
  section.profile_steps = steps
  with pytest.raises(ValueError, match=r'net\.profile_steps of .* such as \('):
    profiling.check(section, 'net')


def test_a_begun_run_may_be_traced():
  assert not config_lib.has_effect('whole_image.profile_steps', {})


@pytest.mark.ci
def test_the_trace_has_the_steps_that_were_asked_for(
  prepared, tmp_path, capsys
):
  tables = []
  for steps in ((), (2, 3), (3, 99)):  # off, two of four, until the end
    folder = tmp_path / str(len(tables))
    (folder / 'prepare').mkdir(parents=True)
    (folder / 'prepare/done.json').write_text(
      json.dumps({'folders': {'original': prepared}})
    )
    config = tiny_cascade.get_config()
    config.localizer.update(steps=4, profile_steps=steps)
    loop.train_and_evaluate(config, 'localizer', str(folder))
    tables.append((folder / 'localizer/predictions.csv').read_text())
    traced = folder / 'localizer' / profiling.FOLDER
    found = glob.glob(f'{traced}/**/*.xplane.pb', recursive=True)
    assert len(found) == bool(steps)
    if not steps:
      continue
    assert f'trace of its steps is in {traced}' in capsys.readouterr().out
    assert glob.glob(f'{traced}/**/perfetto_trace.json.gz', recursive=True)
    data = jax.profiler.ProfileData.from_file(found[0])
    numbers = [
      dict(event.stats)['step_num']
      for plane in data.planes
      for line in plane.lines
      for event in line.events
      if event.name == 'train'
    ]
    assert sorted(map(int, numbers)) == ([2, 3] if steps[1] == 3 else [3, 4])
  assert tables[0] == tables[1] == tables[2]
  (code,) = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.S)
  exec(code.replace('runs/traced/whole_image', str(folder / 'localizer')))
  assert '/host:CPU' in capsys.readouterr().out
