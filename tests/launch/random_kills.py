"""Kills runs at random moments and says whether they end as others do.

  python tests/launch/random_kills.py --out=FILE.csv [--seed=S] [--jobs=a,b]

Twenty runs of tiny systems, two for each kind of job. Each is killed within
that job; in ten of them a training is killed before, and the newest of its
checkpoints is damaged. Started again, all must end with the files of a run that
nothing happened to. Takes about half an hour on two cores that do nothing else;
beside other work moments are missed, and tries are repeated.
"""

import argparse
import csv
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
HELPERS = ROOT / 'tests/helpers'
# (kind, stage) of each job; a training to damage before, or ''.
TARGETS = {
  'prepare': ('cascade', 'prepare', ''),
  'train': ('cascade', 'localizer', 'localizer'),
  'locate': ('cascade', 'regions', 'localizer'),
  'ensemble': ('cascade', 'ensemble', 'assessor'),
  'report': ('cascade', 'report', ''),
  'mine': ('registration', 'mine', 'segmenter'),
  'register': ('registration', 'register', ''),
  'active': ('active', 'active', 'active'),
  'features': ('features', 'features', ''),
  'classes': ('classes', 'report', ''),
}
COMPARED = (
  *('predictions.csv', 'regions.csv', 'masks.csv', 'registration.csv'),
  *('points.csv', 'curve.csv', 'films.csv'),
)
TRIES = 6


def start(kind, folder):
  """Start the command of a kind in a folder."""
  environment = os.environ | {
    'PYTHONPATH': f'{ROOT}{os.pathsep}{HELPERS}',
    'JAX_NUM_CPU_DEVICES': '1',
  }
  folder.mkdir(parents=True, exist_ok=True)
  return subprocess.Popen(
    [
      *(sys.executable, '-m', 'boneage_jax.main'),
      *(f'--config={HELPERS}/tiny_jobs.py:{kind}', '--workdir=run'),
    ],
    cwd=folder,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process):
  """Wait for the end; it must be a good one."""
  text = process.communicate(timeout=1800)[0]
  if process.returncode:
    raise RuntimeError(f'ended with {process.returncode}:\n{text}')
  return text


def names(kind):
  """The stages of a kind, in order."""
  sys.path[:0] = [str(ROOT), str(HELPERS)]
  import tiny_jobs

  return tiny_jobs.get_config(kind).stages


def mark(folder, kind, stage):
  """What is there once a stage has begun: the end of the one before."""
  order = [s for s in names(kind) if s not in ('ensemble', 'report')]
  # Jobs that leave no mark come last.
  before = order[: order.index(stage)] if stage in order else order
  return [folder / 'run' / name / 'done.json' for name in before]


def times(folder, kind, stage, began, ended):
  """When a stage began and ended in the run that nothing happened to."""
  done = lambda name: (folder / 'run' / name / 'done.json').stat().st_mtime
  begins = [done(path.parent.name) for path in mark(folder, kind, stage)]
  path = folder / 'run' / stage / 'done.json'
  end = path.stat().st_mtime if path.exists() else ended
  return end - (max(begins) if begins else began)


def newest(folder):
  """The newest checkpoint to go on from, below a folder; None if none is."""
  try:
    steps = [
      path
      for path in folder.rglob('checkpoints/latest/*')
      if path.name.isdigit()
    ]
    return max(steps, key=lambda path: path.stat().st_mtime, default=None)
  except FileNotFoundError:  # the run renames what is written
    return None


def damage(step, how):
  """Cut, remove or change the largest file of a checkpoint."""
  path = max(
    (p for p in step.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size
  )
  data = bytearray(path.read_bytes())
  if how == 'removed':
    path.unlink()
  elif how == 'cut':
    path.write_bytes(data[: len(data) // 2])
  else:
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def kill(process, ready, seconds):
  """Kill a process at a random moment after something is there."""
  while process.poll() is None and not ready():
    time.sleep(0.01)
  time.sleep(random.uniform(0, seconds))
  process.kill()
  process.communicate()


def files(folder):
  """The files that must be the same, by their place."""
  return {
    str(path.relative_to(folder / 'run')): path.read_bytes()
    for path in sorted((folder / 'run').rglob('*.csv'))
    if path.name in COMPARED
  }


def one(work, whole, job, kind, stage, training, seconds, how):
  """Kill a run, go on, and compare; returns a row of the table."""
  for attempt in range(TRIES):
    folder = work / f'{job}_{how}_{attempt}'
    text, kills = '', 0
    if how:
      at = folder / 'run' / training
      kill(start(kind, folder), lambda at=at: newest(at), 1.0)
      kills += 1
      step = newest(at)
      if step is None:  # the stage was over
        shutil.rmtree(folder)
        continue
      damage(step, how)
    marks = mark(folder, kind, stage)
    process = start(kind, folder)
    ready = lambda marks=marks: all(path.exists() for path in marks)
    kill(process, ready, seconds)
    within = process.returncode < 0 and ready()
    kills += 1
    text = finish(start(kind, folder))
    if not within:  # it ended before, or had not begun
      shutil.rmtree(folder)
      continue
    found = files(folder)
    same = found == whole
    differ = [n for n in whole if found.get(n) != whole[n]]
    shutil.rmtree(folder)
    return {
      'config': kind,
      'job': job,
      'kills': kills,
      'checkpoint': how,
      'files': len(whole),
      'same': int(same),
      'differ': ' '.join(differ),
    }
  raise RuntimeError(
    f'{job}: no moment within the job in {TRIES} tries: {text}'
  )


def main():
  """Run all, and write the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--out', required=True, help='CSV file to write')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--runs', type=int, default=20)
  parser.add_argument('--jobs', default=','.join(TARGETS))
  args = parser.parse_args()
  random.seed(args.seed)
  work = pathlib.Path(tempfile.mkdtemp())
  kinds = dict.fromkeys(TARGETS[job][0] for job in args.jobs.split(','))
  whole, span = {}, {}
  for kind in kinds:
    folder, began = work / f'whole_{kind}', time.time()
    finish(start(kind, folder))
    whole[kind], ended = files(folder), time.time()
    for job, (of, stage, _) in TARGETS.items():
      if of == kind and job in args.jobs.split(','):
        span[job] = times(folder, kind, stage, began, ended)
    print(
      f'{kind}: {len(whole[kind])} files, {ended - began:.0f} s', flush=True
    )
  rows = []
  plans = [job for job in args.jobs.split(',') for _ in range(2)]
  ways = ('cut', 'removed', 'changed')
  for job in plans[: args.runs]:
    kind, stage, training = TARGETS[job]
    how = ways[len(rows) % 3] if training else ''
    row = one(*(work, whole[kind], job, kind, stage, training, span[job], how))
    rows.append(row)
    print(row, flush=True)
    with open(args.out, 'w', newline='') as file:
      writer = csv.DictWriter(file, rows[0], lineterminator='\n')
      writer.writeheader()
      writer.writerows(rows)
  shutil.rmtree(work)
  bad = [row for row in rows if not row['same']]
  damaged = sum(bool(row['checkpoint']) for row in rows)
  print(
    f'{len(rows)} runs, {damaged} with a damaged checkpoint: '
    f'{len(rows) - len(bad)} ended as those that nothing happened to.'
  )
  sys.exit(bool(bad))


if __name__ == '__main__':
  main()
