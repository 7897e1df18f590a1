"""What the README and docs print is true; see pages.py for what is checked."""

from collections.abc import Iterator
import pathlib
import re

from ml_collections import ConfigDict
import numpy as np
import pages
import pytest

from boneage_jax import evaluate
from boneage_jax.core import config as config_lib
from boneage_jax.imaging import annotations
from boneage_jax.imaging import points
from boneage_jax.phantom import render
from boneage_jax.workflow import resume
from configs import common
from configs import system

ROOT = pages.ROOT
README = ROOT / 'README.md'
COMMAND_LINE = ROOT / 'docs/reference/command_line.md'
REFERENCE = ROOT / 'docs/reference/config.md'
CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
PAGES = (
  README,
  *sorted((ROOT / 'docs').rglob('*.md')),
  ROOT / 'benchmarks/README.md',
  ROOT / 'tfds_rsna/README.md',
  ROOT / 'results/README.md',
)
SET_UP = (
  r"python3 -m venv \.venv && \.venv/bin/pip install -q -e (\.|'\.\[test\]')"
)


def leaves(section: dict, name: str = '') -> Iterator[str]:
  """Yield the fields of a section; what depends on a net's kind as one."""
  for key, value in section.items():
    path = f'{name}.{key}' if name else key
    if isinstance(value, dict) and path not in ('net', 'loss', 'pretrained'):
      yield from leaves(value, path)
    else:
      yield path


def listed(text: str, heading: str) -> set[str]:
  """Return the fields in the first column of the tables below a heading."""
  _, _, rest = text.partition(f'\n## {heading}\n')
  return set(re.findall(r'^\| `([\w.]+)` \|', rest.partition('\n## ')[0], re.M))


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page_is_true(page):
  text = page.read_text(encoding='utf-8')
  problems = pages.link_problems(text, page) + pages.field_problems(text)
  problems += pages.config_problems(text) + pages.folder_problems(text)
  for command in pages.commands(text):
    problems += [
      f'{" ".join(command)}: {p}' for p in pages.command_problems(*command)
    ]
  assert not problems, '\n'.join(problems)


def test_pages_have_links_and_commands():
  texts = {page: page.read_text(encoding='utf-8') for page in PAGES}
  assert len(pages.commands(texts[README])) >= 6
  assert sum(len(pages.commands(text)) for text in texts.values()) >= 60
  index = texts[ROOT / 'docs/README.md']
  assert index.count('\n') <= 40
  for page in PAGES:
    if page.parent.parent == ROOT / 'docs':
      assert f']({page.parent.name}/{page.name})' in index, page


@pytest.mark.parametrize(
  ('text', 'word'),
  [
    ('[a](nowhere.md)', 'no such file'),
    ('[a](README.md#nothing-of-that-name)', 'no such heading'),
    ('[a](#absent)\n\n# Present\n', 'no such heading'),
  ],
)
def test_wrong_link_is_found(text, word):
  assert word in ''.join(pages.link_problems(text, README))
  assert not pages.link_problems('[a](LICENSE) [b](#c-d)\n\n## C, d\n', README)


@pytest.mark.parametrize(
  ('line', 'word'),
  [
    ('python -m boneage_jax.mian --config=configs/cascade.py', 'no module'),
    ('python -m boneage_jax.main --workdirs=a', 'no flag --workdirs'),
    (
      'python -m boneage_jax.main --config=configs/cascade.py:phantom \\\n'
      '  --config.assessor.net.depth=3',
      '--config.assessor.net.depth: no such field',
    ),
    ('python -m boneage_jax.predict film.png --sex=F', '--workdir'),
    (
      'python -m boneage_jax.predict --workdir=a f.png --sex=X',
      'invalid choice',
    ),
    ('python -m boneage_jax.evaluate nothing RUN', 'nothing'),
    ('python -m boneage_jax.evaluate compare RUN', 'required'),
    ('python -m boneage_jax.phantom --out=DIR --films=many', 'invalid int'),
    ('python -m tfds_rsna.build --manual=DIR', 'no flag --manual'),
    ('python -m benchmarks.first_step --turn=x', '--turn'),
    (
      'bash boneage_jax/launch/gpu.sh --gpus=0 -- --config=configs/best.py '
      '--config.nothing=1',
      '--config.nothing',
    ),
  ],
)
def test_wrong_command_is_found(line, word):
  (command,) = pages.commands(f'Text\n\n```sh\n{line}\n```\n')
  assert word.lower() in ' '.join(pages.command_problems(*command)).lower()


@pytest.mark.parametrize(
  ('text', 'word'),
  [
    ('See `configs/casc.py`.', 'configs.casc'),
    ('Run --config=configs/best.py:no now.', 'Presets'),
    ('`configs/cascade.py:phantom,half`', 'at most one'),
  ],
)
def test_wrong_config_is_found(text, word):
  assert word in ''.join(pages.config_problems(text))
  assert not pages.config_problems(
    '`configs/cascade.py:strict,phantom`, or not'
  )


def test_wrong_field_is_found():
  problems = pages.field_problems(
    '`--config.STAGE.input.size=1` `--config.STAGE.input.sise=1`'
  )
  assert problems == ['--config.STAGE.input.sise: no config has this field']


def test_wrong_folder_is_found():
  (problem,) = pages.folder_problems('runs/multi_task_age_alone_phantom')
  assert 'commas' in problem
  right = 'runs/multi_task_age_alone,phantom runs/cascade_phantom_long'
  assert not pages.folder_problems(right)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_docstrings_name_folders_of_runs(path):
  assert not pages.folder_problems(path.read_text(encoding='utf-8'))


def test_first_block_of_the_readme():
  language, block = pages.FENCE.findall(README.read_text(encoding='utf-8'))[0]
  run, test = block.splitlines()
  assert language == 'sh'
  config = '--config=configs/cascade.py:phantom'
  main = rf'{SET_UP} && \.venv/bin/python -m boneage_jax\.main {config}'
  assert re.fullmatch(main, run)
  assert re.fullmatch(rf'{SET_UP} && \.venv/bin/python -m pytest', test)
  assert "'.[test]'" in test


def test_readme_is_short():
  text = README.read_text(encoding='utf-8')
  assert text.count('\n') <= 180
  _, _, glossary = text.partition('\n## Glossary\n')
  lines = [line for line in glossary.partition('\n## ')[0].splitlines() if line]
  assert 5 <= len(lines) - 2 <= 12  # less the head of the table


def test_the_readme_names_every_command():
  text = README.read_text(encoding='utf-8')
  for module in pages.modules():
    name = module.removesuffix('.__main__')
    for verb in evaluate.COMMANDS if name == 'boneage_jax.evaluate' else ('',):
      assert f'`python -m {f"{name} {verb}".strip()}`' in text, (name, verb)


def test_every_config_is_in_both_tables():
  names = {
    path.stem for path in CONFIGS if 'def get_config' in path.read_text('utf-8')
  }
  readme = README.read_text(encoding='utf-8')
  rows = re.findall(r'^\| (`configs/.*?) \|', readme, re.M)
  assert set(re.findall(r'configs/(\w+)\.py', ' '.join(rows))) == names
  text = REFERENCE.read_text(encoding='utf-8').partition('\n| preset | data')[0]
  rows = re.findall(r'^\| (`\w+\.py.*?) \|', text, re.M)
  assert set(re.findall(r'(\w+)\.py', ' '.join(rows))) == names


def with_linked(text: str, page: pathlib.Path) -> str:
  """A text with the pages that it links."""
  links = re.findall(r'\]\(([^)#\s]+\.md)', text)
  linked = ((page.parent / link).read_text(encoding='utf-8') for link in links)
  return '\n'.join([text, *linked])


@pytest.mark.parametrize(
  'module', [m for m in pages.modules() if m != 'boneage_jax.evaluate']
)
def test_every_flag_is_documented(module):
  text = COMMAND_LINE.read_text(encoding='utf-8')
  name = module.removesuffix('.__main__')
  _, heading, rest = text.partition(f'\n## `python -m {name}`\n')
  assert heading
  section = rest.partition('\n## ')[0]
  if '| flag |' not in section:
    section = with_linked(section, COMMAND_LINE)
  found = set(re.findall(r'--(\w+)', section))
  assert pages.flags_of(module) - {'imports'} <= found


@pytest.mark.parametrize('name', evaluate.COMMANDS)
def test_every_flag_of_evaluate_is_documented(name):
  text = COMMAND_LINE.read_text(encoding='utf-8')
  (row,) = re.findall(rf'^\| `{name}` \|.*$', text, re.M)
  found = set(re.findall(r'--(\w+)', row))
  flags = pages.flags_of(f'boneage_jax.evaluation.{name.replace("-", "_")}')
  assert flags - {'imports'} <= found


def loads_nets(module: str, seen: set[str]) -> bool:
  """Whether a module of `evaluation` reads nets, itself or by its like."""
  path = ROOT / f'boneage_jax/evaluation/{module}.py'
  text = path.read_text(encoding='utf-8')
  seen.add(module)
  own = set(
    re.findall(r'^from boneage_jax\.evaluation import (\w+)', text, re.M)
  )
  reads = (
    r'^from boneage_jax\.(inference import loading|training import restore)'
  )
  return bool(re.search(reads, text, re.M)) or any(
    loads_nets(other, seen) for other in own - seen
  )


def test_the_page_says_which_commands_load_nets():
  text = COMMAND_LINE.read_text(encoding='utf-8')
  without, with_nets = next(
    part.partition('need no net;')[::2]
    for part in text.split('\n\n')
    if 'need no net;' in part
  )
  _, _, with_nets = with_nets.partition('kept.')
  commands = lambda part: set(re.findall(r'`([a-z][\w-]+)`', part))
  loading = {
    name
    for name in evaluate.COMMANDS
    if loads_nets(name.replace('-', '_'), set())
  }
  assert commands(with_nets) == loading
  assert commands(without) == {*evaluate.COMMANDS} - loading


def test_what_a_run_freezes_is_named():
  page = ROOT / 'docs/how-to/change_a_setting.md'
  text = page.read_text(encoding='utf-8').partition('## A run that has begun')[
    2
  ]
  prepared, always = (
    next(part for part in text.split('\n- ') if words in part)
    for words in ('If only `prepare` has run', 'may always change')
  )
  names = lambda part: {*re.findall(r'`([\w.]+)`', part)}
  assert names(prepared) - {'prepare'} == {*resume.PREPARED}
  assert names(always.partition('\n\n')[0]) == {*config_lib.NO_EFFECT}


def test_fields_that_some_configs_add_are_named():
  paragraphs = REFERENCE.read_text(encoding='utf-8').split('\n\n')
  usual, checked = set(system.base('', '')), 0
  for config in pages.all_configs():
    for name in sorted(set(config) - usual):
      section = config[name]
      if hasattr(section, 'job'):
        continue
      fields = [name]
      if isinstance(section, ConfigDict):
        fields = [f'{name}.{field}' for field in section]
      for field in fields:
        assert any(
          f'`{field}`' in text and f'{config.name}.py`' in text
          for text in paragraphs
        ), (config.name, field)
        checked += 1
  assert checked


def test_the_capitate_lies_where_the_page_says():
  parts, off = [], []
  for number in range(200):
    film = render.make_film(number, 0, {'long_side': 128})
    height, width = film['image'].shape
    of = dict(zip(annotations.POINTS, film['keypoints'], strict=True))
    wrist, knuckle, capitate, tip = (
      of[name] * (width, height)
      for name in ('wrist', 'middle_finger1', 'capitate', 'middle_finger4')
    )
    way, there = knuckle - wrist, capitate - wrist
    parts.append(there @ way / (way @ way))
    error = np.linalg.norm(there - points.CAPITATE * way)
    off.append(100 * error / np.linalg.norm(tip - wrist))
  page = (ROOT / 'docs/reference/data.md').read_text(encoding='utf-8')
  text = ' '.join(page.split())
  assert f'{np.mean(parts):.3f} of the way' in text
  assert f'(standard deviation {np.std(parts):.3f})' in text
  off_by = f"{np.mean(off):.1f} % of the hand's length off on average, "
  assert f'{off_by}{np.max(off):.1f} % at most' in text


@pytest.mark.parametrize(
  ('heading', 'section'),
  [
    ('Every config', system.base('', '')),
    ('Stages that train', common.train_stage()),
    ('Stages that locate', common.locate_stage()),
    ('Stages that report', common.report_stage()),
  ],
)
def test_every_field_is_documented(heading, section):
  text = (ROOT / 'docs/reference/config.md').read_text(encoding='utf-8')
  section = ConfigDict(section).to_dict()
  assert listed(text, heading) == set(leaves(section))
