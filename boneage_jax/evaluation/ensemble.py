r"""Combine the predictions of several runs.

  python -m boneage_jax.evaluate ensemble runs/a runs/b:whole_image \
    --weights=mae --out=runs/both

Weights are fitted on validation films alone; in cross-validation these are the
films that each fold left out. Test films get these weights. Validation films
get weights fitted on the other four fifths of them: no film has a part in its
own weights. A member may be two stages of one sex each, as RUN:boys+girls; with
such a member weights are fitted for each sex if it has more than 200 validation
films. The folder gets predictions.csv and, if all members have bins,
distributions.npz. Other commands read it like the folder of a stage.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any

import numpy as np

from boneage_jax.core import door
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import groups
from boneage_jax.data import splits
from boneage_jax.evaluation import command
from boneage_jax.evaluation import metrics
from boneage_jax.evaluation import text_table
from boneage_jax.evaluation import weighing
from boneage_jax.runs import lineage
from boneage_jax.runs import predictions
from boneage_jax.runs import run as run_lib

HEAD = ('films', 'MAE', '95 % interval', 'RMSE', 'bias', text_table.WITHIN[1])


def combine(
  members: Sequence[run_lib.Run], weights: str = 'mean'
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Combine the films that all members predicted.

  Args:
    members: two or more.
    weights: 'mean', or fitted on validation films to minimise 'mae' or 'mse'.

  Returns:
    The content of ensemble.json: weights (the way); data; films (split -> n);
    members: run, folder, films left out, its weight by each way and, where the
    sexes have their own, under by_sex those of 'F' and 'M'; best, the index of
    the member with the least MAE on validation films; splits: split ->
    {'members': [figures], 'ways': way -> figures, 'gain': way -> paired
    difference with the best member, 'correlation': of the members' errors
    [M, M], None where they do not vary}. And the films, weighted by
    `film_weights`: id, split, sex, age, prediction and, if all members have
    bins, probability.

  Raises:
    ValueError: fewer than two members; members whose labels or splits differ,
      or that have no validation film in common.
  """
  if len(members) < 2:
    raise ValueError(f'Expected two or more members, got {len(members)}.')
  films = run_lib.align_predictions(members)
  moved = np.any(films['split'] != films['split'][0], axis=0)
  if moved.any():
    raise ValueError(
      f'Expected members with one split, got other splits for {moved.sum()} of '
      f'{len(moved)} films, such as {films["id"][moved][:5].tolist()}: a '
      'member would be judged on films that another was fitted on.'
    )
  split, age = films['split'][0], films['age']
  if weighing.FIT not in split:
    raise ValueError(
      f'Expected {weighing.FIT} films that all members predicted.'
    )
  error = films['prediction'] - age
  sexes, apart = groups.sex_text(films['sex']), ()
  if any(member.parts for member in members):
    apart = weighing.sexes_apart(films['sex'], split)
  ways, by_film, of_sex = {}, {}, {sex: {} for sex in apart}
  for way in weighing.WEIGHTS:
    ways[way], by_film[way] = weighing.film_weights(
      error, films['id'], split, way
    )
    for sex in apart:
      of = sexes == sex
      of_sex[sex][way], by_film[way][:, of] = weighing.film_weights(
        error[:, of], films['id'][of], split[of], way
      )
  combined = {
    way: np.sum(w * films['prediction'], axis=0) for way, w in by_film.items()
  }
  best = int(np.argmin(np.abs(error[:, split == weighing.FIT]).mean(axis=1)))
  judged = {}
  for name in [name for name in splits.HELD_OUT if name in split]:
    of = split == name
    own, varies = films['prediction'][:, of], error[:, of].std(axis=1).all()
    judged[name] = {
      'members': [
        metrics.error_summary(prediction - age[of]) for prediction in own
      ],
      'ways': {
        way: metrics.error_summary(p[of] - age[of])
        for way, p in combined.items()
      },
      'gain': {
        way: metrics.paired_difference(age[of], p[of], own[best])
        for way, p in combined.items()
      },
      'correlation': np.corrcoef(error[:, of]).tolist() if varies else None,
    }
  result = {
    'weights': weights,
    'data': _data(members),
    'films': {name: int(np.sum(split == name)) for name in splits.HELD_OUT},
    'members': [
      {
        'run': member.name,
        'folder': member.folder,
        'left_out': len(member.rows['id']) - len(age),
        **_own(ways, k),
        **_by_sex(of_sex, k),
      }
      for k, member in enumerate(members)
    ],
    'best': best,
    'splits': judged,
  }
  rows = {name: films[name] for name in ('id', 'sex', 'age')}
  rows |= {'split': split, 'prediction': combined[weights]}
  stored = [run_lib.distributions(member, films['id']) for member in members]
  if all(probability is not None for probability in stored):
    rows['probability'] = np.einsum(
      'mn,mnb->nb', by_film[weights], np.stack(stored)
    )
  rows['extra'] = _extra(members, films['id'], by_film[weights])
  return result, rows


def _extra(
  members: Sequence[run_lib.Run], ids: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Return the numbers beside the age that all members tell, weighted.

  Args:
    members: whose numbers.
    ids: of films, [N].
    weights: of each member and film, [M, N].
  """
  if any(member.parts for member in members):  # no folder of both
    return {}
  told = [predictions.read_extra(member.folder, ids) for member in members]
  return {
    name: np.sum(weights * [one[name] for one in told], axis=0)
    for name in told[0]
    if all(name in one for one in told)
  }


def _own(ways: Mapping[str, np.ndarray], k: int) -> dict[str, float]:
  """Return the weights of member k by each way."""
  return {way: float(weights[k]) for way, weights in ways.items()}


def _by_sex(of_sex: Mapping[str, Any], k: int) -> dict[str, Any]:
  """Return `by_sex`, the weights of member k for each sex, or nothing."""
  own = {sex: _own(ways, k) for sex, ways in of_sex.items()}
  return {'by_sex': own} if own else {}


def ensemble_table(result: Mapping[str, Any]) -> str:
  """Lay out what `combine` returned."""
  names = [member['run'] for member in result['members']]
  best = names[result['best']]
  parts = [
    f'{len(names)} members; {lineage.dataset_line(result["data"])}',
    f'Weights are fitted on {weighing.FIT} films, where {best} is the best '
    'member. Each fifth of these films gets weights from the other four.',
    *([] if 'test' in result['splits'] else [text_table.NO_TEST]),
    text_table.layout(
      ('weights', *weighing.WEIGHTS, 'films left out'),
      [
        [
          m['run'],
          *(f'{m[way]:.3f}' for way in weighing.WEIGHTS),
          str(m['left_out']),
        ]
        for m in result['members']
      ],
    ),
  ]
  for sex in result['members'][0].get('by_sex', ()):
    rows = [
      [m['run'], *(f'{m["by_sex"][sex][way]:.3f}' for way in weighing.WEIGHTS)]
      for m in result['members']
    ]
    head = (f'weights, {groups.PLURAL[sex]}', *weighing.WEIGHTS)
    parts.append(text_table.layout(head, rows))
  for split, row in result['splits'].items():
    rows = [
      [name, *text_table.errors(r, HEAD)]
      for name, r in zip(names, row['members'], strict=True)
    ]
    for way, r in row['ways'].items():
      gain = row['gain'][way]
      cells = [f'{gain["difference"]:+.2f}']
      cells.append(text_table.interval(gain, 'difference', '+'))
      mark = ' (written)' if way == result['weights'] else ''
      figures = text_table.errors(r, HEAD)
      rows.append([f'weights: {way}{mark}', *figures, *cells])
    parts.append(
      text_table.layout((split, *HEAD, 'less best', '95 % interval'), rows)
    )
    if row['correlation']:
      rows = [
        [name, *(f'{r:.2f}' for r in line)]
        for name, line in zip(names, row['correlation'], strict=True)
      ]
      title = (
        f'correlation of errors, {split}',
        *map(str, range(1, len(names) + 1)),
      )
      parts.append(text_table.layout(title, rows))
  return '\n\n'.join(parts)


def write_ensemble(
  folder: str, result: Mapping[str, Any], rows: Mapping[str, np.ndarray]
) -> None:
  """Write ensemble.json, predictions.csv and, with bins, distributions.npz."""
  storage.make_folder(folder)
  storage.write_json(os.path.join(folder, stages.ENSEMBLE), result, indent=1)
  predictions.write_predictions(folder, rows)


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('ensemble', __doc__)
  parser.add_argument('runs', nargs='+', metavar='RUN[:stage]')
  parser.add_argument('--out', required=True, help='folder to write')
  parser.add_argument(
    '--weights',
    choices=weighing.WEIGHTS,
    default='mean',
    help='equal weights, or those with the least error on validation films',
  )
  args = parser.parse_args(argv)
  with door.one_line_errors():
    members = [run_lib.read_member(name) for name in args.runs]
    result, rows = combine(members, args.weights)
    write_ensemble(args.out, result, rows)
  print(ensemble_table(result))
  if 'probability' not in rows:
    print('\nNo distributions.npz: a member has no bins.')


def _data(members: Sequence[run_lib.Run]) -> dict[str, Any]:
  """Return the data set of the members; all names where they differ."""
  if all(member.data == members[0].data for member in members):
    return members[0].data
  names = dict.fromkeys(lineage.dataset_line(member.data) for member in members)
  return {'name': ' + '.join(names)}


def combine_stage(config: Any, stage: str, workdir: str) -> None:
  """Average the predictions of several stages, with fitted weights."""
  section = config[stage]
  members = [run_lib.read_member(workdir, member) for member in section.members]
  result, rows = combine(members, section.weights)
  write_ensemble(stages.path(workdir, stage), result, rows)
  print(ensemble_table(result))
