"""Real films of the folder BONEAGE_FILMS, against a second decoder."""

import io
import os
import pathlib
import zipfile

import numpy as np
from PIL import Image
import pytest

from boneage_jax.imaging import codec
from boneage_jax.imaging import polarity

FILMS = os.environ.get('BONEAGE_FILMS', '')
ARCHIVES = sorted(pathlib.Path(FILMS).glob('*/boneage-*.zip')) if FILMS else []


@pytest.mark.skipif(not ARCHIVES, reason='BONEAGE_FILMS names no archive')
def test_real_films_are_read_as_pillow_reads_them():
  for path in ARCHIVES:
    inverted = 0
    with zipfile.ZipFile(path) as archive:
      names = [n for n in archive.namelist() if n.endswith(('.png', '.jpg'))]
      for name in names[:20]:
        data = archive.read(name)
        film = codec.read(data).image
        wanted = np.asarray(Image.open(io.BytesIO(data)).convert('L'))
        assert film.dtype == np.uint8 and film.shape == wanted.shape
        # JPEG decoders round on their own.
        assert np.abs(film.astype(int) - wanted).max() <= 3, name
        inverted += polarity.looks_inverted(film)
    assert names and inverted <= 3, path
