"""Fit an ensemble's weights on test films for validation films, and vice versa.

  python results/commands/half_cross_fitted.py RUN

Prints the paired difference with the first member, over both parts.
"""

import sys

import numpy as np

from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import weighing
from boneage_jax.runs import run as run_lib

MEMBERS = ('inception', 'localizer', 'assessor')

runs = [run_lib.read_run(f'{sys.argv[1]}:{member}') for member in MEMBERS]
films = run_lib.align_predictions(runs)
age, own = films['age'], films['prediction']
test = films['split'][0] == 'test'
weights = [weighing.fit_weights((own - age)[:, part]) for part in (test, ~test)]
weighted = np.where(test, weights[1] @ own, weights[0] @ own)
print(metrics.paired_difference(age, weighted, own[0]))
