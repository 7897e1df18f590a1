"""Masks, points and registered regions on the page of a run that has them."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import numpy as np

from boneage_jax.core import ids
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_masks
from boneage_jax.data import film_table
from boneage_jax.data import preprocess
from boneage_jax.data import sources
from boneage_jax.imaging import codec
from boneage_jax.imaging import overlay
from boneage_jax.inference import tables
from boneage_jax.regions import placement
from boneage_jax.regions import registration_table

PER_KIND = 3  # films each of good, median and refused masks, and of a status
REFUSED = 'refused'
SAID = {
  placement.BY_POINTS: 'registered by their points',
  placement.BY_MASK: 'registered by their masks',
  placement.FAILED: 'not registered',
}
Card = Mapping[str, Any]
LoadFilm = Callable[[str], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Hands:
  """What a stage that registers left, and the one that mined its masks.

  Attributes:
    folder: of the stage that registers.
    regions: names of those that it cut.
    table: what registration.csv says, by film id.
    points: [3, 2] of each film, registration.POINTS in fractions.
    mask_rows: of masks.csv; none without masks.
    masks: film_masks.FilmMask by film id.
    counts: `splits` of registration.json.
    polarity: of the films, as grey as which regions are stored.
  """

  folder: str
  regions: Sequence[str]
  table: Mapping[str, registration_table.Entry]
  points: Mapping[str, np.ndarray]
  mask_rows: Sequence[Mapping[str, str]]
  masks: Mapping[str, film_masks.FilmMask]
  counts: Mapping[str, Any]
  polarity: str

  @functools.cached_property
  def _crops(self) -> tuple[Any, dict[str, int]]:
    path = f'{self.folder}/{stages.FILMS}'
    films = film_table.read_films(path)
    order = {film: row for row, film in enumerate(films['id'].tolist())}
    return sources.crop_source(self.folder, films), order

  def crops(self, film_id: str) -> list[np.ndarray]:
    """Return the regions of a film with bright bones, uint8 [h, w] each."""
    source, order = self._crops
    record = source[order[film_id]]
    return [
      preprocess.bright(codec.decode_stored(one), self.polarity)
      for one in record['regions']
    ]

  def picture(self, film_id: str, film: np.ndarray) -> np.ndarray:
    """Draw mask, points and frames of the regions on a film, uint8 RGB."""
    matrix, frames = self.table[film_id].matrix, {}
    if matrix is not None:
      frames = placement.frames(matrix, self.regions)
    mask = self.masks.get(film_id)
    on_film = mask.on_film(film.shape) if mask else None
    drawn = overlay.overlay(film)
    return overlay.draw_hand(drawn, on_film, self.points[film_id], frames)


def read(config: Any, stage: str, workdir: str) -> Hands | None:
  """Read what an age stage, or an ensemble, gets its regions from.

  Returns:
    None where no stage registers films, or it is not finished.
  """
  before = stages.Stage(config, stage, workdir).all_inputs()
  found = [one for one in before if one.section.job == 'register' and one.done]
  if not found:
    return None
  one = found[0]
  rows, masks = [], {}
  if one.section.masks_from:
    folder = stages.path(workdir, one.section.masks_from)
    rows = film_masks.read_table(folder)
    masks = film_masks.FilmMasks(folder)
  return Hands(
    folder=one.folder,
    regions=tuple(one.section.regions),
    table=registration_table.read(one.path(stages.REGISTRATION)),
    points=registration_table.read_points(one.path(stages.POINTS)),
    mask_rows=rows,
    masks=masks,
    counts=storage.read_json(
      one.path(stages.REGISTRATION_JSON), keys=('splits',)
    )['splits'],
    polarity=config[one.section.keypoints].input.polarity,
  )


def mask_cards(hands: Hands, load_film: LoadFilm) -> dict[str, list[Card]]:
  """Return good, median and refused masks on their films, by kind.

  Masks are sorted by how alike they are to those of the mirrored films; good
  and median ones are of films whose mask was not refused.
  """
  order = sorted(
    hands.mask_rows,
    key=lambda row: (-float(row['mirror_iou']), ids.sort_key(row['id'])),
  )
  usable = [row for row in order if not row['reason']]
  refused = [row for row in order if row['status'] == REFUSED]
  count = min(PER_KIND, -(-len(usable) // 2))
  start = (len(usable) - count) // 2 if len(usable) > count else 0
  middle = len(refused) // 2
  chosen = {
    'good': usable[:count],
    'median': usable[max(start, count) :][:count],
    # The worst, the best and one between, if there are as many.
    REFUSED: [refused[k] for k in sorted({0, middle, len(refused) - 1})]
    if refused
    else [],
  }
  return {
    kind: [_mask_card(hands, row, load_film) for row in rows]
    for kind, rows in chosen.items()
    if rows
  }


def _mask_card(
  hands: Hands, row: Mapping[str, str], load_film: LoadFilm
) -> Card:
  film = load_film(row['id'])
  mask = hands.masks[row['id']].on_film(film.shape)
  drawn = overlay.draw_hand(overlay.overlay(film), mask)
  title = row['reason'] or f'{float(row["mirror_iou"]):.3f}'
  about = row['status'] if row['reason'] else 'overlap with its mirror image'
  return {
    'title': title,
    'text': f'{about}; {100 * float(row["area"]):.0f} % of the film',
    'id': row['id'],
    'pictures': [('with the outline of its mask', overlay.jpeg(drawn))],
  }


def film_cards(
  hands: Hands, films: Sequence[str], load_film: LoadFilm
) -> dict[str, list[Card]]:
  """Return films with their points and regions, by how they were registered.

  Args:
    hands: of the run.
    films: ids to choose from, in order.
    load_film: id -> uint8 [H, W].
  """
  cards: dict[str, list[Card]] = {}
  for status, said in SAID.items():
    chosen = [film for film in films if hands.table[film].status == status]
    for film in chosen[:PER_KIND]:
      cards.setdefault(said, []).append(_film_card(hands, film, load_film))
  return cards


def _film_card(hands: Hands, film: str, load_film: LoadFilm) -> Card:
  entry = hands.table[film]
  words = [tables.FAULTS[word] for word in entry.reason.split()]
  title = '; '.join(words) or 'points are plausible'
  text = 'the whole film stands in for each region'
  if entry.matrix is not None:
    mirrored = ', mirrored' if entry.mirrored else ''
    turn = 'clockwise' if entry.angle_deg > 0 else 'counter-clockwise'
    text = f'turned {turn} by {abs(entry.angle_deg):.1f} degrees{mirrored}'
  pictures = [
    ('with its regions', overlay.jpeg(hands.picture(film, load_film(film))))
  ]
  for name, crop in zip(hands.regions, hands.crops(film), strict=True):
    pictures.append((name, overlay.jpeg(np.stack([crop] * 3, -1))))
  return {'title': title, 'text': text, 'id': film, 'pictures': pictures}


def counts(hands: Hands) -> list[list[str]]:
  """Return a row for each split: films, and how they were registered."""
  return [
    [
      split,
      str(found['films']),
      *(str(found['status'][status]) for status in SAID),
    ]
    for split, found in hands.counts.items()
  ]


def faults(hands: Hands) -> list[list[str]]:
  """Return a row for each fault: of how many films of each split it is said."""
  return [
    [
      tables.FAULTS[word],
      *(str(found['reasons'].get(word, 0)) for found in hands.counts.values()),
    ]
    for word in hands.counts['all']['reasons']
  ]


def alarms(hands: Hands, split: str) -> list[str]:
  """Say how many films of a split were not registered, if any."""
  found = hands.counts[split]
  failed = found['status'][placement.FAILED]
  if not failed:
    return []
  return [
    f'{failed} of {found["films"]} {split} films were not registered '
    f'({100 * failed / found["films"]:.1f} %); the whole film stood in for '
    'each region.'
  ]
