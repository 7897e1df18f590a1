"""See what a net is trained on, before and after augmentation.

  python -m boneage_jax.preview --config=configs/cascade.py:phantom
  python -m boneage_jax.preview --config=configs/cascade.py:phantom \
    --workdir=runs/cascade_phantom --stage=assessor --out=samples.jpg

With --workdir films are those of that run, and crops those that it has cut.
Without it a few films are prepared in a folder that is removed again.
"""

import os
import shutil
import tempfile
from typing import Any

from absl import app
from absl import flags

from boneage_jax.core import config as config_lib
from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.core import storage
from boneage_jax.data import selection
from boneage_jax.training import preview
from boneage_jax.training import shapes
from boneage_jax.workflow import capacity
from boneage_jax.workflow import few_films
from boneage_jax.workflow import validate

FLAGS = flags.FLAGS


def show(config: Any, workdir: str, stage: str, films: int, out: str) -> None:
  """Write the sheet of a stage to the file `out`.

  Args:
    config: of the run.
    workdir: of the run; '' prepares a few films.
    stage: that trains; '' is the first one.
    films: rows of the sheet.
    out: path of the picture.

  Raises:
    ValueError: no such stage, or one whose films or crops are not there.
  """
  trained = [
    n for n, s in stages.sections(config).items() if s.job in capacity.NETS
  ]
  stage = stage or next((n for n in config.stages if n in trained), '')
  if stage not in trained:
    raise ValueError(
      f'Expected --stage to be one of {", ".join(trained)}, got {stage!r}.'
    )
  if config[stage].input.get('features_from'):
    raise ValueError(
      f'{stage} reads features of {config[stage].input.features_from}, which '
      'are no pictures: name another stage with --stage.'
    )
  with tempfile.TemporaryDirectory() as folder:
    if not workdir:
      if source := config[stage].input.crops_from:
        raise ValueError(
          f'{stage} is trained on crops that the stage {source!r} cuts: name a '
          'run that has cut them with --workdir=RUN.'
        )
      validate.validate(config, folder, without_films=True)
      config = few_films.prepare(config, folder, 4 * films)
      workdir = folder
    table = selection.stage_films(config, stage, workdir)
    train = selection.training_films(config, table)
    kinds = shapes.masks(config[stage])
    made = preview.write(config, stage, workdir, train, kinds, films)
    storage.make_folder(os.path.dirname(out) or os.curdir)
    if storage.absolute(made) != storage.absolute(out):
      shutil.copyfile(made, out)
  door.say(f'{stage}: {min(films, len(train["id"]))} films in {out}.')


def main(argv: list[str]) -> None:
  """Run the command."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  startup.set_up()
  with door.one_line_errors():
    workdir = FLAGS.workdir and storage.absolute(FLAGS.workdir)
    show(FLAGS.config, workdir, FLAGS.stage, FLAGS.films, FLAGS.out)


def parse_flags(argv: list[str]) -> list[str]:
  """Define the flags of this command and parse them."""
  config_lib.define()
  flags.DEFINE_string('workdir', '', 'Folder of a run whose films are shown.')
  flags.DEFINE_string('stage', '', 'Which one; the first that trains a net.')
  flags.DEFINE_integer('films', preview.FILMS, 'Rows of the sheet.', 1)
  flags.DEFINE_string('out', stages.SAMPLES, 'Picture to write.')
  return config_lib.parse(argv)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
