"""Correct the ages of a run for one site, on its own films of known age.

  python -m boneage_jax.evaluate adapt runs/whole --table=local.csv --site=NAME

The table has a row for each film: file, sex (M or F), age_true (months); about
100 films are enough. The run reads them, and a correction for each sex is
kept where it lowers the error of films left out beyond chance. Writes
sites/NAME.json to the stage's folder; predict --site=NAME uses it, with
prediction intervals that are fitted anew.
"""

from collections.abc import Sequence
import os
from typing import Any

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_table
from boneage_jax.data import groups
from boneage_jax.evaluation import command
from boneage_jax.evaluation import site_fit
from boneage_jax.inference import film_file
from boneage_jax.inference import film_list
from boneage_jax.inference import loading
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import site as site_lib
from boneage_jax.runs import run as run_lib


def adapt(
  workdir: str, table: str, site: str, kind: str = 'linear', stage: str = ''
) -> dict[str, Any]:
  """Find and write the correction of a site.

  Args:
    workdir: of the run.
    table: of films, see `film_table.read_listed`.
    site: its name.
    kind: of the correction, see `site_fit.fit`.
    stage: that predicts, by default the reported one.

  Returns:
    What was written, see `site_fit.fit`.

  Raises:
    ValueError: a film cannot be read or has no sex, or no correction helps.
  """
  stage = stages.chosen(run_lib.read_config(workdir), stage)
  place = site_lib.path(workdir, stage, site)
  films = film_table.read_listed(table, needs=('sex', 'age_true'))
  unknown = [film.file for film in films if film.sex == 'unknown']
  if unknown:
    raise ValueError(
      f'{table}: expected films of known sex, got unknown of {unknown[0]}: '
      'write M or F, or leave the film out.'
    )
  model = loading.load(workdir, stage)
  archives = film_list.Archives()
  found = [_predicted(model, table, film, archives) for film in films]
  archives.close()
  for film, one in zip(films, found, strict=True):
    if one.withheld:
      print(
        f'{door.shown(film.file)} is left out: refused, '
        f'{", ".join(one.quality_flags)}'
      )
  kept = [k for k, one in enumerate(found) if not one.withheld]
  if not kept:
    raise ValueError(f'Expected films with an age in {table}, all are refused.')
  rows = {
    'age': np.array([films[k].age_true for k in kept], np.float64),
    'sex': groups.sex_number(films[k].sex for k in kept),
    'prediction': np.array([found[k].age_predicted for k in kept]),
  }
  result = {'site': site, **site_fit.fit(rows, kind)}
  storage.make_folder(os.path.dirname(place))
  storage.write_json(place, result, indent=1)
  return result


def _predicted(
  model: loading.Either,
  table: str,
  film: film_table.Listed,
  archives: film_list.Archives,
) -> prediction_lib.Prediction:
  one = film_list.Film(film.file, *film.place(table))
  try:
    found = film_file.read(lambda: archives.read(one, None))
    image = found.with_polarity(model.inverted)
    known = {**found.scalars, **film.scalars}
    return model.predict(image, film.sex, known)
  except ValueError as error:
    raise ValueError(
      f'{film.file}: {error} Mend the file, or leave it out of the table.'
    ) from error


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('adapt', __doc__)
  parser.add_argument('run', metavar='RUN')
  parser.add_argument('--table', required=True, help='file, sex, age_true')
  parser.add_argument('--site', required=True, help='name of the site')
  parser.add_argument('--kind', choices=site_lib.KINDS, default='linear')
  parser.add_argument('--stage', default='', help='by default the reported one')
  args = parser.parse_args(argv)
  with door.one_line_errors():
    workdir = storage.absolute(args.run)
    result = adapt(workdir, args.table, args.site, args.kind, args.stage)
  print(site_fit.table(result))
  print(f'Use it with python -m boneage_jax.predict --site={args.site}.')
