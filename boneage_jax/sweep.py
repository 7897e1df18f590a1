"""Run a config with several values of some settings, and several seeds.

  python -m boneage_jax.sweep --config=configs/whole_image.py:phantom \
    --grid=whole_image.optimizer.learning_rate=1e-3,2e-3,4e-3 --seeds=3

Runs go one after the other; the same command goes on where it was stopped. They
share phantoms and prepared data. What a run prints lies in printed.txt in its
folder; errors and progress are shown. The end is a table of the settings that
differ, validation first, which is written with a plot into the folder of the
sweep.

With --print the command of each run is printed in the place of running it, such
as for a scheduler: --seeds=3 --print | sed 's/^/sbatch job.sh /' | sh
"""

import os
import re
import shlex
import subprocess
import sys
import time
from typing import Any

from absl import app
from absl import flags

from boneage_jax.core import config as config_lib
from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.report import sweep as sweep_report
from boneage_jax.workflow import grid as grid_lib
from boneage_jax.workflow import longer

FLAGS = flags.FLAGS
PRINTED = 'printed.txt'  # of a run's folder


def sweep(
  config: Any,
  arguments: list[str],
  *,
  fields: dict[str, list[str]],
  seeds: int,
  out: str,
  stage: str = '',
  print_only: bool = False,
) -> None:
  """Run what is not finished, then print the table and write it to `out`.

  Args:
    config: of all runs.
    arguments: --config and its overrides.
    fields: values of each field that is swept, as text.
    seeds: runs of each setting.
    out: folder of the sweep, with a folder for each run.
    stage: whose errors are shown; '' is the reported one.
    print_only: print the command of each run, and run none.

  Raises:
    ValueError: settings that cannot be, or a run that failed.
  """
  grid_lib.check(fields, config)
  if (chosen := stages.chosen(config, stage)) not in stages.of_ages(config):
    raise ValueError(
      f'Expected a stage that tells ages, whose errors a sweep compares, got '
      f'{chosen!r}; choose one with --stage: '
      f'{", ".join(stages.of_ages(config)) or "this config has none"}.'
    )
  runs = grid_lib.cells(fields, seeds, config.seed, out)
  shared = grid_lib.shares_data(fields)
  if shared:
    grid_lib.share_phantoms(config, out, runs)
  data = config.data_dir or (os.path.join(out, 'data') if shared else '')
  failed, seconds = [], []
  waiting = sum(not grid_lib.finished(cell, config) for cell in runs)
  for k, cell in enumerate(runs, start=1):
    words = grid_lib.command(cell, arguments, data)
    grid_lib.ask(cell, config)
    if print_only:
      print(shlex.join(['python', *words]))
      continue
    name = os.path.basename(cell.folder)
    if grid_lib.finished(cell, config):
      print(f'{k} of {len(runs)}, {name}: already done.', flush=True)
      continue
    print(f'{k} of {len(runs)}, {name}{_left(seconds, waiting)}', flush=True)
    started = time.monotonic()
    code = _start(words, cell.folder)
    waiting -= 1
    if not code:  # a run of before may go on with some other settings
      grid_lib.keep(cell, config)
    if code or not grid_lib.finished(cell, config):
      failed.append(name)
      continue
    seconds.append(time.monotonic() - started)
    _say_errors(cell.folder, stage)
  if print_only:
    return
  done = [cell for cell in runs if grid_lib.finished(cell, config)]
  if done:
    show(done, list(grid_lib.short_names(fields).values()), out, stage)
  if failed:
    raise ValueError(
      f'{len(failed)} of {len(runs)} runs did not end: {", ".join(failed)}. '
      'Their errors stand above; the same command runs these again.'
    )


def _start(words: list[str], folder: str) -> int:
  """Run a command; keep what it prints, but errors, in the run's folder."""
  os.makedirs(folder, exist_ok=True)
  with open(os.path.join(folder, PRINTED), 'a', encoding='utf-8') as file:
    command = [sys.executable, '-u', *words]
    done = subprocess.run(command, check=False, stdout=file)
  return done.returncode


def _say_errors(folder: str, stage: str) -> None:
  """Print the errors of a run in a line, and the alarms of its report."""
  found = sweep_report.errors_of(folder, stage).items()
  maes = [f'{split} MAE {judged.mae:.2f}' for split, judged in found]
  report = storage.read_json(stages.report_path(folder, stages.REPORT_JSON), {})
  alarms = [f'ALARM: {alarm}' for alarm in report.get('alarms', ())]
  print(
    '\n'.join(f'  {line}' for line in [', '.join(maes), *alarms]), flush=True
  )


def _left(seconds: list[float], runs: int) -> str:
  """Say how long runs will take, from the seconds of others; '' of none."""
  if not seconds:
    return ''
  minutes = sum(seconds) / len(seconds) * runs / 60
  about = f'about {minutes:.0f}' if minutes >= 1 else 'less than 1'
  return f'; {about} min left'


def show(
  done: list[grid_lib.Cell], names: list[str], out: str, stage: str
) -> None:
  """Print the table of finished runs; write it and a plot into `out`."""
  rows = sweep_report.sweep_rows(
    [
      (cell.values, cell.seed, sweep_report.errors_of(cell.folder, stage))
      for cell in done
    ]
  )
  sweep_report.write(out, names, rows)
  print(f'\n{sweep_report.sweep_table(names, rows)}')
  print(f'{sweep_report.CSV} and {sweep_report.PNG} lie in {out}.')


def overrides(words: list[str]) -> list[str]:
  """Return --config, its overrides less the seed, and --imports, of a line."""
  own, taken = [], False
  for word in words:
    if re.match(r'--?[a-z]', word):
      taken = re.match(r'--?((no)?config\.|imports\b)', word) is not None
      taken = taken and not re.match(r'--?config\.seed\b(?!\.)', word)
    if taken:  # a word without a dash is the value of the one before
      own.append(word)
  return [f'--config={FLAGS["config"].config_filename}', *own]


def main(argv: list[str]) -> None:
  """Run the command."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  with door.one_line_errors():
    config = longer.expand(FLAGS.config)
    parts = filter(None, [config.name, config.variant, 'sweep'])
    out = FLAGS.out or os.path.join('runs', '_'.join(parts))
    if storage.is_remote(out):
      raise ValueError(
        f'Expected a folder of this machine for --out, got {out}: runs share '
        'what lies in it by links.'
      )
    sweep(
      config,
      overrides(sys.argv[1:]),
      fields=grid_lib.parse(FLAGS.grid),
      seeds=FLAGS.seeds,
      out=storage.absolute(out),
      stage=FLAGS.stage,
      print_only=FLAGS['print'].value,
    )


def parse_flags(argv: list[str]) -> list[str]:
  """Define the flags of this command and parse them."""
  config_lib.define()
  flags.DEFINE_multi_string(
    'grid',
    [],
    'SECTION.FIELD=VALUE,VALUE; several flags give all combinations.',
  )
  flags.DEFINE_integer('seeds', 1, 'Runs of each setting, with seeds in order.')
  flags.DEFINE_string(
    'out', '', 'Folder of the sweep (default: runs/..._sweep).'
  )
  flags.DEFINE_string('stage', '', 'Whose errors are shown; the reported one.')
  flags.DEFINE_bool('print', False, 'Print the command of each run, run none.')
  return config_lib.parse(argv)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
