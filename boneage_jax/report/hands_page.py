"""The sections of a report that show masks, points and regions."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from boneage_jax.data import groups
from boneage_jax.evaluation import plot_style
from boneage_jax.evaluation import regions
from boneage_jax.imaging import overlay
from boneage_jax.report import hands as hands_lib
from boneage_jax.report import page


def sections(
  hands: hands_lib.Hands | None,
  ages: Mapping[str, Any] | None,
  films: Sequence[str],
  load_film: hands_lib.LoadFilm | None,
) -> dict[str, Any]:
  """Return what hands.html shows.

  Args:
    hands: of the run, if it registers films.
    ages: what `regions.region_ages` says of it, if stages read one region each.
    films: ids of the split that is shown first.
    load_film: id -> uint8 [H, W]; None shows no film.
  """
  made: dict[str, Any] = {'masks': {}, 'films': {}, 'legend': [], 'tables': []}
  made |= {'figure': None, 'ages': [], 'cell_films': regions.CELL_FILMS}
  if hands:
    made['tables'] = [
      page.Table(
        'How films were registered',
        ['split', 'films', *hands_lib.SAID.values()],
        hands_lib.counts(hands),
      )
    ]
    faults = hands_lib.faults(hands)
    if faults:
      head = ['films', *hands.counts]
      title = 'Why not by their points, or not at all'
      made['tables'].append(page.Table(title, head, faults))
    colours = enumerate(hands.regions)
    made['legend'] = [(name, overlay.COLOURS[k % 3]) for k, name in colours]
    if load_film:
      made['masks'] = hands_lib.mask_cards(hands, load_film)
      made['films'] = hands_lib.film_cards(hands, films, load_film)
  if ages:
    made['ages'] = [
      page.Table(f'Errors by region, {split}', *_ages(ages, rows))
      for split, rows in ages['splits'].items()
    ]
    draw = lambda *where: regions.draw(*where, ages)
    made['figure'] = {
      'light': plot_style.png(draw),
      'dark': plot_style.png(draw, dark=True),
    }
  return made


def _ages(
  ages: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[list[str]]]:
  """Return columns and rows of a table of errors by region and puberty."""
  columns = [regions.ALL, *ages['parts']]
  cells = [
    [
      row['region'],
      regions.NETS[row['nets']],
      groups.PLURAL.get(row['films'], 'all'),
      *(regions.cell_text(row['cells'][column]) for column in columns),
    ]
    for row in rows
  ]
  return ['region', 'nets of', 'films', *columns], cells
