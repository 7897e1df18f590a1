"""Print what border cropping and the sharpness check do to prepared films.

  python results/commands/quality.py FOLDER SIZE

FOLDER holds prepared films, SIZE is the size of the net's input in pixels.
"""

import sys

import numpy as np

from boneage_jax.data import sources
from boneage_jax.imaging import borders
from boneage_jax.imaging import codec
from boneage_jax.imaging import corruptions
from boneage_jax.imaging import sharpness

FILMS = 300  # that are changed

folder, size = sys.argv[1], int(sys.argv[2])
source = sources.film_source(folder, sources.load_films(folder))
films = [codec.decode_stored(record['image']) for record in source]
inner = [film[borders.inside(film)] for film in films]
pairs = zip(inner, films, strict=True)
lost = np.array([1 - part.size / film.size for part, film in pairs])
for share in (0, 0.02, 0.1, 0.5):
  print(f'loses more than {share:g} of its area:', np.mean(lost > share))
for grey in (255, 0):
  framed = [corruptions.border(film, 0.15, grey) for film in films[:FILMS]]
  pairs = zip(framed, inner, strict=False)
  undone = [np.array_equal(a[borders.inside(a)], b) for a, b in pairs]
  print(f'border of grey {grey} undone:', np.mean(undone))
scores = np.array([sharpness.score(film, size) for film in inner])
print('least score:', scores.min())
print('films flagged:', sum(scores < sharpness.LEAST))
changes = [(corruptions.blur, x) for x in (0.0025, 0.005, 0.01, 0.02)]
changes += [(corruptions.shrink, n) for n in (2, 4, 8)]
for change, much in changes:
  changed = (change(film, much) for film in inner[:FILMS])
  flagged = [sharpness.lacks_detail(film, size) for film in changed]
  print(f'{change.__name__} {much}: flagged', np.mean(flagged))
