"""Write an archive of phantoms, synthetic films of hands.

python -m boneage_jax.phantom --out=phantoms --films=200 --seed=0
"""

import argparse

from boneage_jax.core import door
from boneage_jax.phantom import archive


def main(argv: list[str] | None = None) -> None:
  """Write an archive of phantoms."""
  parser = argparse.ArgumentParser(
    prog='python -m boneage_jax.phantom',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--out', required=True, help='folder to write')
  parser.add_argument('--films', type=int, required=True)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--long_side', type=int, default=2000, help='pixels')
  parser.add_argument(
    '--label_noise_sd', type=float, default=0.0, help='sd of the labels, months'
  )
  parser.add_argument(
    '--inverted', type=float, default=0.0, help='share of MONOCHROME1 films'
  )
  parser.add_argument(
    '--fractures', type=float, default=0.0, help='share of broken hands'
  )
  parser.add_argument('--views', type=int, default=1, help='films of a visit')
  parser.add_argument('--visits', type=int, default=1, help='of a hand')
  parser.add_argument(
    '--turn', type=float, default=0.0, help='most that hands turn, degrees'
  )
  parser.add_argument(
    '--shift', type=float, default=0.0, help='most that they move, of the sides'
  )
  parser.add_argument(
    '--chronological_sd',
    type=float,
    default=0.0,
    help='of how far bone ages are ahead of ages, months',
  )
  parser.add_argument(
    '--faults',
    dest='kinds',
    type=lambda text: tuple(text.split(',')),
    default=(),
    help='planted in turn, such as two_hands,cut_wrist',
  )
  parser.add_argument('--workers', type=int, default=None)
  args = parser.parse_args(argv)
  with door.one_line_errors():
    archive.write_archive(**vars(args), progress=True)
    print(f'Wrote {args.films} films to {args.out}.')


if __name__ == '__main__':
  main()
