"""Write a run as a model file, which `predict --model` reads.

  python -m boneage_jax.export --workdir=RUN --out=MODEL [--stablehlo=DIR]
  python -m boneage_jax.export --workdir=runs/cascade_phantom --out=cascade.zip

MODEL is a new folder, or a name that ends in .zip. It holds arrays, settings,
calibration and a model card, and nothing that can execute. DIR gets the nets
as StableHLO for programs without this code, with example.py.
"""

import argparse
from collections.abc import Sequence
import os

from boneage_jax.core import door
from boneage_jax.core import extend
from boneage_jax.core import stages
from boneage_jax.core import startup
from boneage_jax.core import storage
from boneage_jax.inference import loading
from boneage_jax.inference import model_card
from boneage_jax.inference import model_file
from boneage_jax.inference import stablehlo
from boneage_jax.runs import run as run_lib


def export(
  workdir: str, out: str, stage: str = '', licence: str = '', programs: str = ''
) -> list[str]:
  """Write a model file and, with `programs`, its StableHLO.

  Args:
    workdir: of the run.
    out: the model.
    stage: that predicts, by default the reported one.
    licence: of the films that it was trained on, for the card.
    programs: folder for StableHLO; '' for none.

  Returns:
    What was written, in lines for the user.

  Raises:
    ValueError: there is no such stage, or `out` is there already.
  """
  if programs:
    stablehlo.check_package()
  workdir = storage.absolute(workdir)
  model = loading.load(workdir, stage)
  config = run_lib.read_config(workdir)
  stage = stages.chosen(config, stage)
  report = model_card.report_of(config, stage, workdir)
  card = model_card.card(model.basis, report, licence, model.inputs)
  manifest = model_file.write(model, config, stage, workdir, out, card, report)
  sizes = [one['bytes'] for one in manifest['files'].values()]
  lines = [
    model.basis.sentence,
    f'{out}: {len(manifest["nets"])} nets, {sum(sizes) / 1e6:.1f} MB.',
  ]
  if programs:
    written = stablehlo.write(model, workdir, os.path.abspath(programs))
    count = len(written['nets']) + len(written['finders'])
    lines.append(f'{programs}: {count} programs for CPUs and accelerators.')
  return lines


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = argparse.ArgumentParser(
    prog='python -m boneage_jax.export',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--workdir', required=True, help='folder of a run')
  parser.add_argument('--out', required=True, help='a new folder, or a .zip')
  parser.add_argument('--stage', default='', help='by default the reported one')
  parser.add_argument(
    '--films_licence', default='', help='of the films it was trained on'
  )
  parser.add_argument('--stablehlo', default='', help='folder for StableHLO')
  extend.add_flag(parser)
  args = parser.parse_args(argv)
  with door.one_line_errors():
    startup.set_up()
    lines = export(
      *(args.workdir, args.out, args.stage, args.films_licence),
      args.stablehlo,
    )
  print(*lines, sep='\n')


if __name__ == '__main__':
  main()
