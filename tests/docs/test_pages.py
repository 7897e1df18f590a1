"""What the README and docs print is true; see pages.py for what is checked."""

from collections.abc import Iterator
import re

from ml_collections import ConfigDict
import pages
import pytest

from boneage_jax import evaluate
from configs import common
from configs import system

ROOT = pages.ROOT
README = ROOT / 'README.md'
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
  problems += pages.config_problems(text)
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


def test_every_command_is_documented():
  text = (ROOT / 'docs/reference/command_line.md').read_text(encoding='utf-8')
  for name in evaluate.COMMANDS:
    assert f'`{name}' in text, name


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
