"""Films of an external test: where they lie, and what they look like."""

from collections.abc import Collection
from typing import Any

from boneage_jax.core import door
from boneage_jax.core import scalars
from boneage_jax.data import film_table
from boneage_jax.evaluation import seen_films
from boneage_jax.imaging import codec
from boneage_jax.imaging import polarity
from boneage_jax.imaging import two_hands
from boneage_jax.inference import film_batches
from boneage_jax.inference import film_list
from tfds_rsna import archive as archives
from tfds_rsna import naming

SPLIT = 'test'  # of all films, in predictions.csv


class Films:
  """Films with known ages, and their files.

  Attributes:
    films: to predict.
    data: what they are, as of `lineage.data_set`.
    bad: id and reason of those that cannot be read.
    fingerprint: of the films and what is known of them.
  """

  def __init__(self, archive: archives.Archive, side: str, name: str):
    """Take the films of an archive.

    Args:
      archive: all of its splits count as one.
      side: kept of films that are wider than high; '' keeps them whole.
      name: of the data set; '' for the one that it has.
    """
    self.bad = [[film, reason] for film, reason in archive.bad]
    self.films = [
      _film(archive, one) for some in archive.films.values() for one in some
    ]
    self.fingerprint = f'{archive.fingerprint()[:12]}{side}'
    self._side, self._archives = side, film_list.Archives()
    self.data = _described(archive, name)

  @property
  def reading(self) -> film_batches.Reading:
    """How their files are read."""
    return film_batches.Reading(self._archives)

  def look(self) -> dict[str, seen_films.Print]:
    """Read all films; return what each is known by, and leave out the bad."""

    def read(film: film_list.Film) -> tuple[film_list.Film, Any]:
      try:
        data = self._archives.read(film, None)
        image = codec.read(data).image
      except (ValueError, OSError) as error:
        return film, door.reason(error)
      except Exception as error:  # decoders raise their own kinds on odd files
        return film, codec.reason(error)
      if self._side and image.shape[1] > image.shape[0]:
        film = film._replace(side=self._side)
        image = two_hands.cut(image, self._side, polarity.looks_inverted(image))
      return film, seen_films.print_of(data, image)

    found: dict[str, seen_films.Print] = {}
    films, self.films = self.films, []
    for film, said in seen_films.in_threads(read, films, 'new films'):
      if isinstance(said, str):
        self.bad.append([film.name, said])
        continue
      self.films.append(film)
      found[film.name] = said
    return found

  def leave_out(self, names: Collection[str]) -> None:
    """Leave out films that the run has seen; say so in `data`."""
    if not names:
      return
    self.films = [film for film in self.films if film.name not in names]
    self.fingerprint += f', {len(names)} seen left out'
    self.data |= {
      'films': self.data['films'] - len(names),
      'subset': True,
      'split': 'external test, films that the run has not seen',
    }


def _described(archive: archives.Archive, name: str) -> dict[str, Any]:
  """Say what data the films are, as `lineage.data_set` does."""
  count = sum(len(some) for some in archive.films.values())
  first = next(iter(archive.label_files.values()))['sha256'][:12]
  title = name or naming.folder_name(archive.manual_dir)
  title = f'{title}, {count} films, labels {first}'
  if archive.phantom is not None:
    title, _ = archive.describe({SPLIT: count})
  return {
    'name': title,
    'films': count,
    'of': count,
    'phantom': archive.phantom is not None,
    'label_files': archive.label_files,
    'split': 'external test, all films',
  }


def _film(archive: archives.Archive, one: archives.Film) -> film_list.Film:
  known = archive.annotations.get(one.id, {}) | one.said
  listed = film_table.Listed(
    *(one.member, 'M' if one.male else 'F', one.age),
    *(scalars.of(known), one.said.get('study', '')),
  )
  member = one.member if one.container else ''
  path = one.container or one.member
  return film_list.Film(one.id, path, member, listed)
