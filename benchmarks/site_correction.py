"""Print what corrections of a site find that was planted, and where none is.

  python -m benchmarks.site_correction [--run=RUN[:STAGE]]

Sites of 100 films are drawn from the test films of a run, or without one from
4,000 films whose errors are drawn, skewed as those of early and late children
are. All other films judge. First as they are read; then without any bias, the
line of each sex taken out; then, from there, with girls read as 0.9 x age + 6
months. A few hundred test films judge badly: the others have what a site lacks.
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


def of_run(name):
  """Return age, sex and prediction of the test films of a run, [N]."""
  rows = run_lib.read_run(name).rows
  test = rows['split'] == 'test'
  kept = {name: rows[name][test] for name in ('age', 'sex', 'prediction')}
  return {name: kept[name].astype(np.float64) for name in kept}


def drawn(sd, count=4000):
  """Return the like of films that nobody read; sd in months."""
  rng = np.random.default_rng(0)
  said = np.clip(rng.normal(127, 41, count), 12, 222)
  errors = sd * (rng.gamma(2, 1, count) - 2) / np.sqrt(2)
  sex = rng.choice((-1.0, 1.0), count)
  return {'age': said + errors, 'sex': sex, 'prediction': said}


def without_bias(rows):
  """Return predictions that no line of either sex would better."""
  said = rows['prediction'].copy()
  for sex in (-1, 1):
    of = rows['sex'] == sex
    said[of] = np.polyval(np.polyfit(said[of], rows['age'][of], 1), said[of])
  return said


def measure(title, films, draws):
  """Print what is found at sites of films."""
  rng, girls = np.random.default_rng(0), films['sex'] < 0
  refused, inside, gains = 0, [], {'F': [], 'M': []}
  slope, offset = line(films['age'][girls], films['prediction'][girls])
  for _ in range(draws):
    own, others = draw(films, rng)
    found, _ = site_fit.measure(own)
    bias = found['F']['bias']
    pairs = ((bias['slope_ci95'], slope), (bias['offset_ci95'], offset))
    inside.append([low <= true <= high for (low, high), true in pairs])
    if not any(row['kept'] for row in found.values()):
      refused += 1
      continue
    by_sex = site_fit.fit(own)['by_sex']
    for sex in by_sex:
      of = others['sex'] == {'F': -1, 'M': 1}[sex]
      age, before = others['age'][of], others['prediction'][of]
      after = site.correct(by_sex, sex, before)
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
        f'{np.mean(np.array(values) < 0):.0%} lose',
        flush=True,
      )


def main() -> None:
  """Run the command."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--run', help='RUN or RUN:STAGE')
  parser.add_argument('--sd', type=float, default=8, help='of drawn errors')
  parser.add_argument('--draws', type=int, default=200, help='sites')
  args = parser.parse_args()
  rows = of_run(args.run) if args.run else drawn(args.sd)
  name = args.run or f'errors of {args.sd:g} months'
  print(f'{name}: {len(rows["age"])} films, {args.draws} draws of {FILMS}')
  true = without_bias(rows)
  shifted = np.where(rows['sex'] < 0, SLOPE * true + OFFSET, true)
  sites = {'as read': rows['prediction'], 'no bias': true, 'planted': shifted}
  for title, said in sites.items():
    measure(title, {**rows, 'prediction': said}, args.draws)


if __name__ == '__main__':
  main()
