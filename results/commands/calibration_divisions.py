"""Calibrate a run on 200 random parts of its films and judge it on the others.

  python results/commands/calibration_divisions.py RUN

Prints the mean coverage of 90 % intervals (all films, then each sex), its
standard deviation, and how often all three lie within 2 points of 90 %.
"""

import sys

import numpy as np

from boneage_jax.data import film_table
from boneage_jax.evaluation import interval_coverage
from boneage_jax.inference import intervals
from boneage_jax.runs import run as run_lib

FITTED_SHARE = 551 / 2115

films, covered = run_lib.read_run(sys.argv[1]).rows, []
random = np.random.default_rng(0)
for _ in range(200):
  order = random.permutation(len(films['id']))
  fitted = order < FITTED_SHARE * len(order)
  parts = [film_table.select(films, part) for part in (fitted, ~fitted)]
  made = intervals.fit(parts[0], groups='sex_age')
  row = interval_coverage.grouped_coverage(
    parts[1], intervals.apply(made, parts[1])
  )
  covered.append([r['covered'][1] for r in (row, *row['by_sex'].values())])
print('mean', np.mean(covered, axis=0))
print('standard deviation', np.std(covered, axis=0))
near = np.abs(np.array(covered) - 0.9) <= 0.02
print('all within 2 points', near.all(axis=1).mean())
