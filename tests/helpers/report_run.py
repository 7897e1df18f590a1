"""A tiny made-up run, and its report."""

import dataclasses
import json
import os

import numpy as np

from boneage_jax.imaging import age_maps
from boneage_jax.imaging import boxes
from boneage_jax.report import write as report_write
from boneage_jax.runs import age_map_file
from boneage_jax.runs import lineage
from boneage_jax.runs import located

CONFIG = {'name': 'tiny', 'stages': ('localizer', 'assessor')}
FILMS, TEST = 48, 12  # the others validate
PLACES = age_maps.Places((64, 64), ((16, 24.0),) * 2, (4, 4, 60, 60))
MISSED = boxes.Region(boxes.WHOLE_FILM, 0.0, False)


def film(film_id):
  rng = np.random.default_rng(int(film_id))
  return rng.integers(0, 255, (80, 60), dtype=np.uint8)


def workdir(tmp_path, predict=None):
  """Write the files that the stages of a run leave behind."""
  rng = np.random.default_rng(0)
  ids, sex = (np.arange(FILMS) + 1000).astype(str), np.arange(FILMS) % 2 * 2 - 1
  age = rng.uniform(20, 200, FILMS)
  prediction = age + rng.normal(0, 6, FILMS) if predict is None else predict
  for name in ('assessor', 'localizer', 'locate', 'data'):
    os.makedirs(tmp_path / name)
  with open(tmp_path / 'assessor/predictions.csv', 'w') as file:
    file.write('id,split,sex,age_true,age_predicted\n')
    for k in range(FILMS):
      split = 'test' if k < TEST else 'validation'
      row = (ids[k], split, 'M' if sex[k] > 0 else 'F', age[k], prediction[k])
      file.write(','.join(map(str, row)) + '\n')
  months = np.arange(240)
  mass = np.exp(-0.5 * ((months - prediction[:, None]) / 9) ** 2)
  mass /= mass.sum(axis=1, keepdims=True)
  np.savez(
    tmp_path / 'assessor/distributions.npz',
    id=ids,
    probability=mass.astype(np.float16),
  )
  for name in ('assessor', 'localizer'):
    with open(tmp_path / name / 'metrics.jsonl', 'w') as file:
      for step in range(1, 9):
        row = {'step': step, 'epoch': step / 4, 'train_loss': 9 / step}
        row |= {'validation_mae': 30 / step} if step % 4 == 0 else {}
        file.write(json.dumps(row) + '\n')
  carpal = boxes.Region((0.3, 0.6, 0.7, 0.9), 0.5, True)
  rows = [(i, 'carpal', MISSED if i == '1003' else carpal) for i in ids]
  boxes.write_regions(str(tmp_path / 'locate/regions.csv'), rows)
  maps = rng.random((FILMS, 1, 5, 5)).astype(np.float16)
  np.savez(tmp_path / 'locate/maps.npz', id=ids, maps=maps)
  annotated = {'carpal': {'n': 5, 'found': 1.0, 'centre_in_wrist': 0.8}}
  coverage = {'all': annotated, 'train': annotated, 'test': {}}
  (tmp_path / 'locate/coverage.json').write_text(json.dumps(coverage))
  ages = prediction[:, None, None] + rng.normal(0, 9, (FILMS, 2, 2))
  matrices = np.tile([[0.9, 0, 0.1], [0, 0.9, -0.06]], (FILMS, 1, 1))
  rows = {'id': ids, 'age_map': ages, 'deformation': matrices}
  age_map_file.write(str(tmp_path / 'assessor'), rows, PLACES)
  build = {
    'films': FILMS,
    'of': 12611,
    'bad': [],
    'label_file': 'labels.csv',
    'label_file_sha256': 'ab' * 32,
    'label_files': {
      'train': {'file': 'labels.csv', 'sha256': 'ab' * 32},
      'test': {'file': 'a/folder/test.xlsx', 'sha256': 'cd' * 32},
    },
    'name': f'RSNA training, subset: {FILMS} of 12611 films',
  }
  (tmp_path / 'data/build.json').write_text(json.dumps(build))
  return str(tmp_path)


def write(workdir, **changes):
  regions, coverage, heat = located.read_located(workdir, 'locate')
  inputs = report_write.ReportInputs(
    workdir,
    'assessor',
    CONFIG,
    regions=regions,
    coverage=coverage,
    heat=heat,
    data=lineage.data_set(os.path.join(workdir, 'data'), 'by film id'),
    references={
      'localizer': {str(1000 + k): 100.0 for k in range(FILMS)},
      'sex_median': {
        str(1000 + k): 130.0 if k % 2 else 90.0 for k in range(FILMS)
      },
    },
    load_film=film,
    age_maps=age_map_file.read([os.path.join(workdir, 'assessor')]),
  )
  return report_write.write_report(dataclasses.replace(inputs, **changes))


def bare(workdir):
  """Write the report of a run that left nothing but predictions."""
  return report_write.write_report(
    report_write.ReportInputs(workdir, 'assessor', {})
  )


def read(folder, name):
  with open(os.path.join(folder, name), encoding='utf-8') as file:
    return file.read()
