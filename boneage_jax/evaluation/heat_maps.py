r"""Compare where in the hand two nets look, as Fig. 9 of Li 2023 does.

  python -m boneage_jax.evaluate heat-maps runs/ablation_phantom:localizer \
    runs/ablation_phantom:whole_film

Which share of a heat map lies inside the boxes of the wrist and of the MCP, PIP
and DIP joints? Both nets read the same films, which need such boxes: phantoms
have them, real films by annotations/ossification_boxes.csv of the archive. Maps
of both are made as the stage that finds regions makes those of A. A stage that
reads crops stands for its localizer. Writes heat_maps.json and heat_maps.jpg,
some films beside both maps, to the folder of A.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
from typing import Any

import numpy as np
import tqdm

from boneage_jax.core import door
from boneage_jax.core import startup
from boneage_jax.core import statistics
from boneage_jax.core import storage
from boneage_jax.data import film_table
from boneage_jax.data import splits as splits_lib
from boneage_jax.evaluation import command
from boneage_jax.evaluation import deletion_insertion
from boneage_jax.evaluation import saliency
from boneage_jax.evaluation import text_table
from boneage_jax.imaging import boxes as boxes_lib
from boneage_jax.imaging import overlay
from boneage_jax.regions import gradcam
from boneage_jax.regions import localize
from boneage_jax.runs import lineage
from boneage_jax.runs import run as run_lib

LABELS = ('Wrist', 'MCP', 'PIP', 'DIP')
ALL = 'all of these'
SHOWN = 4  # films of the picture
SPLITS = {'held_out': splits_lib.HELD_OUT, 'all': splits_lib.SPLITS}
SPLITS |= {name: (name,) for name in splits_lib.SPLITS}
HEAD = ('films', 'of the film', 'A', '95 % interval', 'B', '95 % interval')
HEAD += ('A - B', '95 % interval')


def film_boxes(annotations: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Return the boxes [K, 4] of LABELS that a film has, and ALL of them."""
  found = boxes_lib.annotated_boxes(annotations)
  out = {label: found[label] for label in LABELS if label in found}
  return out | ({ALL: np.concatenate([*out.values()])} if out else {})


def share_inside(heat: np.ndarray, boxes: np.ndarray) -> float:
  """Return the share of a map inside boxes; what two boxes hold counts once.

  Args:
    heat: [h, w] over the film, 0 or more.
    boxes: [K, 4], x0, y0, x1, y1 in fractions of the film.

  Returns:
    0 to 1; NaN of a map without heat.
  """
  y, x = ((np.arange(n) + 0.5) / n for n in heat.shape)
  inside = np.zeros(heat.shape, bool)
  for x0, y0, x1, y1 in boxes:
    inside |= ((y0 <= y) & (y <= y1))[:, None] & ((x0 <= x) & (x <= x1))
  total = heat.sum(dtype=np.float64)
  if not total > 0:
    return float('nan')
  return float(heat[inside].sum(dtype=np.float64) / total)


def films_of_both(
  a: deletion_insertion.Judge,
  b: deletion_insertion.Judge,
  names: Sequence[str],
  count: int | None,
) -> tuple[film_table.Films, list[Any], list[Any]]:
  """Return films with boxes that are in some splits of both runs.

  Args:
    a, b: the nets.
    names: of the splits.
    count: of films, chosen by a hash of the id; None: all.

  Returns:
    Their table, and the records of either run, on which boxes of the same
    kinds are known.

  Raises:
    ValueError: there are none, or a film has another age in the other run.
  """
  films, source = a.source(names)
  others, other_source = b.source(names)
  places = {film: k for k, film in enumerate(others['id'].tolist())}
  pairs = []
  for k, film in enumerate(films['id'].tolist()):
    if film not in places:
      continue
    if films['age'][k] != others['age'][places[film]]:
      raise ValueError(
        f'Expected nets of one archive, but film {film} is of '
        f'{films["age"][k]:g} months in {a.run.name} and of '
        f'{others["age"][places[film]]:g} in {b.run.name}.'
      )
    pair = (k, places[film])
    boxes = [
      film_boxes(json.loads(s[i]['annotations'] or '{}'))
      for s, i in zip((source, other_source), pair, strict=True)
    ]
    if boxes[0] and boxes[0].keys() == boxes[1].keys():
      pairs.append(pair)
  if not pairs:
    raise ValueError(
      f'Expected films of {" or ".join(names)} in {a.run.name} and '
      f'{b.run.name} with boxes of {", ".join(LABELS)}, got none. Put '
      'annotations/ossification_boxes.csv into the archive, see '
      'docs/reference/data.md, or choose other films with --split.'
    )
  films = film_table.select(films, np.array([k for k, _ in pairs]))
  chosen = splits_lib.some(films['id'], count)
  pairs = [pairs[k] for k in chosen]
  return (
    film_table.select(films, chosen),
    [source[k] for k, _ in pairs],
    [other_source[k] for _, k in pairs],
  )


def compare_maps(
  a: deletion_insertion.Judge,
  b: deletion_insertion.Judge,
  names: Sequence[str],
  count: int | None,
) -> tuple[dict[str, Any], np.ndarray]:
  """Compare the shares of two nets' maps inside boxes.

  Args:
    a, b, names, count: as of `films_of_both`.

  Returns:
    The content of heat_maps.json: a and b (run, data), target and mirror of
    the maps, splits, films (ids), and shares: method -> label -> figures of
    `paired`. And a picture: films and both maps side by side, uint8 RGB.
  """
  films, *records = films_of_both(a, b, names, count)
  n = len(films['id'])
  by_age = np.argsort(films['age'], kind='stable')
  shown = by_age[np.linspace(0, n - 1, min(SHOWN, n)).round().astype(int)]
  pictures: dict[int, list[np.ndarray]] = {k: [] for k in shown.tolist()}
  rows: dict[tuple[str, str], list[list[float]]] = {}
  seen = (
    saliency.over_films(judge, iter(some))
    for judge, some in zip((a, b), records, strict=True)
  )
  bar = tqdm.tqdm(total=n, desc='heat maps', unit='film', disable=None)
  for k, pair in enumerate(zip(*seen, strict=True)):
    boxes = [film_boxes(film.annotations) for film, _ in pair]
    for method in gradcam.METHODS:
      heats = [maps[method] for _, maps in pair]
      for label in boxes[0]:
        inside = [
          share_inside(heat, of[label])
          for heat, of in zip(heats, boxes, strict=True)
        ]
        area = share_inside(np.ones_like(heats[0]), boxes[0][label])
        rows.setdefault((method, label), []).append([*inside, area])
    if k in pictures:
      text = f'{films["id"][k]}: {films["age"][k]:g} months'
      pictures[k] = _pictures(text, pair, boxes, (a, b))
    bar.update()
  bar.close()
  shares = {
    method: {
      label: paired(np.array(rows[method, label]))
      for label in (*LABELS, ALL)
      if (method, label) in rows
    }
    for method in gradcam.METHODS
  }
  return {
    'a': {'run': a.run.name, 'data': a.run.data},
    'b': {'run': b.run.name, 'data': b.run.data},
    'target': a.target,
    'mirror': a.mirror,
    'splits': list(names),
    'films': films['id'].tolist(),
    'shares': shares,
  }, overlay.sheet([cell for of in pictures.values() for cell in of], columns=3)


def paired(found: np.ndarray) -> dict[str, Any]:
  """Average shares over films.

  Args:
    found: [N, 3], of the maps of both nets and of the film; NaN of a map
      without heat.

  Returns:
    n, the films of which both maps have heat; without_heat, the others; and
    where n > 0 film, a, b and difference (a - b), 0 to 1, of enough films with
    their _ci95, films resampled in pairs.
  """
  warm = found[np.isfinite(found).all(axis=1)]
  out: dict[str, Any] = {'n': len(warm), 'without_heat': len(found) - len(warm)}
  if len(warm):
    a, b, film = warm.T
    out['film'] = float(film.mean())
    for name, values in (('a', a), ('b', b), ('difference', a - b)):
      out |= statistics.mean(values, name)
  return out


def heat_maps_table(result: Mapping[str, Any]) -> str:
  """Lay out what `compare_maps` returned."""
  mirror = ', averaged with that of the mirror image' * result['mirror']
  parts = [
    '\n'.join(
      f'{key.upper()}  {result[key]["run"]}: '
      f'{lineage.dataset_line(result[key]["data"])}'
      for key in ('a', 'b')
    ),
    f'{len(result["films"])} films with boxes ({", ".join(result["splits"])}); '
    f"maps of the target '{result['target']}'{mirror}. Share of the map inside "
    'the boxes, percent; `of the film`: that of a map without any preference.',
  ]
  for method, of in result['shares'].items():
    cells = [
      [label, str(row['n']), *(_cells(row) if row['n'] else [])]
      for label, row in of.items()
    ]
    head = (saliency.TITLES[method], *HEAD)
    parts.append(text_table.layout(head, cells))
    if cold := max(row['without_heat'] for row in of.values()):
      parts.append(f'Maps of {cold} films have no heat and do not count.')
  parts.append(
    'A - B above 0: more of A lies there. Films are resampled in pairs.'
  )
  return '\n\n'.join(parts)


def main(argv: Sequence[str] | None = None) -> None:
  """Run the command."""
  parser = command.parser('heat-maps', __doc__)
  parser.add_argument('a', metavar='RUN_A[:stage]')
  parser.add_argument('b', metavar='RUN_B[:stage]')
  parser.add_argument(
    '--films',
    type=int,
    help='number of films, chosen by a hash of their id; default: all',
  )
  parser.add_argument(
    '--split',
    default='held_out',
    choices=list(SPLITS),
    help='films to look at; default: those of test and validation',
  )
  parser.add_argument(
    '--batch_size', type=int, default=deletion_insertion.BATCH
  )
  parser.add_argument('--out', help='folder to write; default: that of A')
  args = parser.parse_args(argv)
  with door.one_line_errors():
    startup.set_up()
    startup.check_device()
    a = deletion_insertion.Judge(run_lib.read_run(args.a), args.batch_size)
    b = deletion_insertion.Judge(run_lib.read_run(args.b), args.batch_size, a)
    result, picture = compare_maps(a, b, SPLITS[args.split], args.films)
    folder = args.out or a.run.folder
    storage.make_folder(folder)
    storage.write_json(os.path.join(folder, 'heat_maps.json'), result, indent=1)
    path = os.path.join(folder, 'heat_maps.jpg')
    with storage.replacing(path, 'wb') as file:
      file.write(overlay.jpeg(picture))
    print(f'{heat_maps_table(result)}\n\nPicture: {path}')


def _pictures(
  text: str,
  pair: Sequence[tuple[localize.Film, Mapping[str, np.ndarray]]],
  boxes: Sequence[Mapping[str, np.ndarray]],
  judges: Sequence[deletion_insertion.Judge],
) -> list[np.ndarray]:
  """Draw a film, and it with the maps of both nets, each with its boxes."""
  method = judges[0].method
  shown = [(pair[0][0], None, boxes[0], text)]
  for (film, maps), of, judge in zip(pair, boxes, judges, strict=True):
    heat = maps[method]
    share = 100 * share_inside(heat, of[ALL])
    name = f'{judge.run.name}: {share:.0f} % in the boxes'
    shown.append((film, heat, of, name))
  pictures = []
  for film, heat, of, name in shown:
    picture = overlay.overlay(film.image, heat)
    for x0, y0, x1, y1 in of[ALL]:  # one by one, as colours tell frames apart
      corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
      picture = overlay.draw_hand(picture, frames={'': corners})
    pictures.append(overlay.captioned(picture, name))
  return pictures


def _cells(row: Mapping[str, Any]) -> list[str]:
  """Lay out the figures of `paired` in percent."""
  cells = [f'{100 * row["film"]:.1f}']
  for key, sign in (('a', ''), ('b', ''), ('difference', '+')):
    ends = [100 * end for end in row.get(f'{key}_ci95', ())]
    cells += [
      f'{100 * row[key]:{sign}.1f}',
      ' to '.join(f'{end:{sign}.1f}' for end in ends),
    ]
  return cells
