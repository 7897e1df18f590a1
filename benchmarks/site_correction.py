"""Print what corrections of a site find that was planted, and where none is.

  python -m benchmarks.site_correction --run=RUN[:STAGE]

Test films of a run are drawn as a site of 100 films; all other test films
judge. First as the run reads them, so that there is nothing to correct; then
with girls read as 0.9 x age + 6 months.
"""

import argparse

import numpy as np

from boneage_jax.evaluation import site_fit
from boneage_jax.inference import site
from boneage_jax.runs import run as run_lib

FILMS, SLOPE, OFFSET = 100, 0.9, 6.0


def line(age, prediction):
  """Return slope and offset of predictions as a line of true ages."""
  return np.polyfit(age, prediction, 1)


def draw(rows, rng):
  """Divide films into a site and those that judge."""
  order = rng.permutation(len(rows['age']))
  parts = order[:FILMS], order[FILMS:]
  return [{name: rows[name][part] for name in rows} for part in parts]


def main() -> None:
  """Run the command."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--run', required=True, help='RUN or RUN:STAGE')
  parser.add_argument('--draws', type=int, default=200, help='sites')
  args = parser.parse_args()
  draws = args.draws
  rows = run_lib.read_run(args.run).rows
  test = rows['split'] == 'test'
  kept = {name: rows[name][test] for name in ('age', 'sex', 'prediction')}
  rows = {name: kept[name].astype(np.float64) for name in kept}
  girls = rows['sex'] < 0
  shifted = np.where(
    girls, SLOPE * rows['prediction'] + OFFSET, rows['prediction']
  )
  print(f'{args.run}: {len(girls)} test films, {draws} draws of {FILMS}')
  for title, said in (('as read', rows['prediction']), ('planted', shifted)):
    films, rng = {**rows, 'prediction': said}, np.random.default_rng(0)
    refused, inside, gains = 0, [], {'F': [], 'M': []}
    slope, offset = line(films['age'][girls], said[girls])  # of all films
    for _ in range(draws):
      own, others = draw(films, rng)
      bias = site_fit.measure(own)[0]['F']['bias']
      pairs = ((bias['slope_ci95'], slope), (bias['offset_ci95'], offset))
      inside.append([low <= true <= high for (low, high), true in pairs])
      try:
        found = site_fit.fit(own)
      except ValueError:
        refused += 1
        continue
      for sex in found['by_sex']:
        of = others['sex'] == {'F': -1, 'M': 1}[sex]
        age, before = others['age'][of], others['prediction'][of]
        after = site.correct(found['by_sex'], sex, before)
        gains[sex].append(np.mean(np.abs(before - age) - np.abs(after - age)))
    print(f'{title}: girls are read as {slope:.3f} x age + {offset:.1f}')
    print(f'  refused {refused} of {draws}')
    share = 100 * np.mean(inside, axis=0)
    print(f'  slope, offset of girls in their intervals: {share.round(1)} %')
    for sex, values in gains.items():
      if values:
        print(
          f'  {sex} corrected {len(values)} times; gain on other films '
          f'{np.mean(values):.2f} months, least {min(values):.2f}; '
          f'{np.mean(np.array(values) < 0):.0%} lose'
        )


if __name__ == '__main__':
  main()
