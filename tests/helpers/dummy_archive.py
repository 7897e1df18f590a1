"""Small archives of noise pictures, and what was built of them."""

import csv
import json
import pathlib
import shutil
import zipfile

from encode import encode
import numpy as np
import tensorflow_datasets as tfds

import tfds_rsna

DUMMY = pathlib.Path(tfds_rsna.__file__).parent / 'dummy_data'
TRAIN = 'boneage-training-dataset'


def pixels(seed, height=20, width=14):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width), dtype=np.uint8)


def write_table(path, rows):
  with open(path, 'w', newline='') as f:
    csv.writer(f).writerows(rows)


def create(tmp_path):
  """An archive of four films in an extracted folder: 1.png ... 4.png."""
  folder = tmp_path / 'manual'
  (folder / TRAIN).mkdir(parents=True)
  for i in range(1, 5):
    (folder / TRAIN / f'{i}.png').write_bytes(encode(pixels(i)))
  rows = [(i, 30 * i, i % 2 == 0) for i in range(1, 5)]
  write_table(folder / f'{TRAIN}.csv', [('id', 'boneage', 'male'), *rows])
  return folder


def read_back(folder, split='train'):
  source = tfds.builder_from_directory(folder).as_data_source(
    split, decoders={'image': tfds.decode.SkipDecoding()}
  )
  return {r['id'].decode(): r for r in (source[i] for i in range(len(source)))}


def info(folder):
  return json.loads(pathlib.Path(folder, 'build.json').read_text())


def pack(manual_dir, prefix=''):
  """Turns the extracted folder into the zip file of its name."""
  with zipfile.ZipFile(manual_dir / f'{TRAIN}.zip', 'w') as z:
    for path in sorted((manual_dir / TRAIN).iterdir()):
      z.write(path, f'{prefix}{TRAIN}/{path.name}')
    z.writestr(f'__MACOSX/{TRAIN}/._1.png', b'resource fork')
  shutil.rmtree(manual_dir / TRAIN)
