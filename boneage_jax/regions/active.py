"""The `active` job: people outline the films that a committee differs on.

Zhao 2018 and Pan 2020, algorithm 1: train a committee of U-Nets on the labelled
films, ask for masks of the other films on which its nets differ most, and so
on. Films for validation and test are never asked for, and no net chooses by
them which films are.
"""

from collections.abc import Mapping
import copy
import itertools
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.core import tables
from boneage_jax.data import film_masks
from boneage_jax.data import film_table
from boneage_jax.data import selection
from boneage_jax.data import splits
from boneage_jax.imaging import mask_quality
from boneage_jax.regions import ask
from boneage_jax.regions import committee
from boneage_jax.regions import curve
from boneage_jax.regions import mine
from boneage_jax.training import loop
from boneage_jax.training import validate

CHOSEN = 'chosen.csv'
QUERIES = ('dissimilar', 'random')
ORACLES = ('annotations', 'person')


def learn(config: Any, stage: str, workdir: str) -> None:
  """Run the rounds of a stage, then mask every film with the last net.

  Each round has a folder, round_<k>: chosen.csv, the films that it asked for;
  masks.csv, all films that it is trained on; and net_<m> of each net. A killed
  job goes on at its net. The folder of the stage gets curve.json and curve.csv,
  Dice by number of labelled films, and what `mine.mask_all` writes: the first
  net of the last round, and masks.array_record of all films.

  Raises:
    ValueError: masks that a person drew cannot be used.
    Preempted: a person is asked for masks.
  """
  numbers = range(1, len(config[stage].rounds) + 1)
  for number in numbers:
    name = mine.round_name(stage, number)
    if not distributed.exists(stages.path(workdir, name, film_masks.TABLE)):
      _label(config, stage, number, workdir)
    expanded = with_rounds(config, stage, workdir)
    for member in members(config, stage, number):
      if not distributed.exists(stages.path(workdir, member, stages.DONE)):
        loop.train_and_evaluate(expanded, member, workdir)
  nets = {n: members(config, stage, n) for n in numbers}
  done = mine.mask_all(expanded, stage, workdir, nets[numbers[-1]][0])
  path = stages.path(workdir, stage, stages.DONE)

  def end() -> None:
    points = zip(config[stage].rounds, nets.values(), strict=True)
    curve.write(stage, workdir, dict(points), config[stage].query)
    storage.write_json(path, done)

  distributed.on_main_process(end)


def members(config: Any, stage: str, number: int) -> list[str]:
  """Name the nets of a round as stages."""
  name = mine.round_name(stage, number)
  return [f'{name}/net_{k}' for k in range(1, config[stage].committee + 1)]


def with_rounds(config: Any, stage: str, workdir: str) -> Any:
  """Return the config with a stage for each net of the rounds that began.

  Every net is trained anew, from a seed of its own, on the labelled films of
  its round alone.
  """
  config = copy.deepcopy(config).unlock()
  section = copy.deepcopy(config[stage])
  for number in range(1, len(section.rounds) + 1):
    name = mine.round_name(stage, number)
    if not distributed.exists(stages.path(workdir, name, film_masks.TABLE)):
      break
    rows = film_masks.read_table(stages.path(workdir, name))
    of = lambda status, rows=rows: tuple(
      row['id'] for row in rows if row['status'] == status
    )
    for position, member in enumerate(members(config, stage, number)):
      one = copy.deepcopy(section)
      one.job = 'train'
      one.seed = section.seed + number * section.committee + position
      one.input.masks_films = of(mine.LABELLED)
      one.input.masks_from = name if of(mine.HUMAN) else ''
      config[member] = one
    # What `mine.judge` takes as drawn.
    config[stage].input = copy.deepcopy(one.input)
    if of(mine.HUMAN):
      config[stage].corrected = ask.folder(stage, workdir)
  return config


def pool(config: Any, stage: str, workdir: str) -> film_table.Films:
  """Return the films that may be asked for, all of them for training.

  A column `drawn` says whether the archive has a mask of the film. Annotations
  can answer for no others; a person can.
  """
  section = config[stage]
  films, _ = selection.split_films(
    config, workdir, section.input.builder_config
  )
  films = selection.select_split(films, 'train')
  kinds = set(section.input.masks)
  marks = films['marks'].tolist()
  films['drawn'] = np.array([bool(kinds & {*m.split()}) for m in marks], bool)
  if section.oracle == 'annotations':
    films = film_table.select(films, films['drawn'])
  return films


def choose(
  config: Any, stage: str, number: int, workdir: str
) -> list[dict[str, Any]]:
  """Return the films that a round adds: rows of chosen.csv.

  The first round, and every round of a random query, takes the next films of
  one random order, of a person's run those first that are drawn already. Other
  rounds take those on which the nets of the round before differ most.
  """
  section = config[stage]
  films = pool(config, stage, workdir)
  before = [row['id'] for row in _labelled(stage, number - 1, workdir)]
  left = film_table.select(films, ~np.isin(films['id'], before))
  values = np.full(len(left['id']), np.nan)
  order = splits.shuffled(left['id'], config.seed)
  order = order[np.argsort(~left['drawn'][order], kind='stable')]
  if number > 1 and section.query == 'dissimilar':
    values = committee.dissimilarity(
      with_rounds(config, stage, workdir),
      members(config, stage, number - 1),
      *(workdir, left, section.dissimilarity),
    )
    order = np.argsort(-values, kind='stable')
  return [
    {
      'id': left['id'][i],
      'dissimilarity': '' if np.isnan(values[i]) else f'{values[i]:.5f}',
      'drawn': int(left['drawn'][i]),
    }
    for i in order[: section.rounds[number - 1] - len(before)].tolist()
  ]


def _label(config: Any, stage: str, number: int, workdir: str) -> None:
  """Choose films, have them outlined, and write masks.csv of a round."""
  folder = stages.path(workdir, mine.round_name(stage, number))
  storage.make_folder(folder)
  path = stages.path(folder, CHOSEN)
  if not distributed.exists(path):
    found = choose(config, stage, number, workdir)
    distributed.on_main_process(lambda: _write_rows(path, found))
  with storage.reading(path) as file:
    chosen = tables.read_dicts(file, path, ('id', 'drawn'))
  rows = _labelled(stage, number - 1, workdir)
  for row in chosen:
    status = mine.LABELLED if row['drawn'] == '1' else mine.HUMAN
    stored = int(status == mine.HUMAN)
    rows.append(
      {'id': row['id'], 'split': 'train', 'status': status, 'stored': stored}
    )
  needed = film_masks.stored(rows)
  before = film_masks.stored(_labelled(stage, number - 1, workdir))
  masks = {}
  if needed:
    masks = ask.answers(config, stage, workdir, needed, before)
  film_masks.write(
    folder, rows, [masks[film] for film in needed], config[stage].input
  )
  distributed.print_once(
    f'{mine.round_name(stage, number)}: {len(rows)} labelled films, '
    f'{len(chosen)} of them new.'
  )


def _labelled(stage: str, number: int, workdir: str) -> list[dict[str, Any]]:
  """Return the rows of masks.csv of a round; there is no round 0."""
  if not number:
    return []
  return film_masks.read_table(
    stages.path(workdir, mine.round_name(stage, number))
  )


def _write_rows(path: str, rows: list[Mapping[str, Any]]) -> None:
  with storage.replacing(path) as file:
    tables.write_dicts(file, rows)


def check(stage: stages.Stage) -> None:
  """Check the settings of active learning, before it runs.

  Raises:
    ValueError: a value that it cannot use; names the field.
  """
  section, name = stage.section, stage.name
  rounds = tuple(section.rounds)
  if (
    not rounds
    or rounds[0] < section.batch_size
    or any(more <= fewer for fewer, more in itertools.pairwise(rounds))
  ):
    raise ValueError(
      f'Expected {name}.rounds to be growing numbers of labelled films, the '
      f'first of {section.batch_size} or more, a batch, got {rounds}: change '
      f'--config.{name}.rounds or --config.{name}.batch_size.'
    )
  if section.committee < 2:
    raise ValueError(
      f'Expected {name}.committee of 2 nets or more, got {section.committee}.'
    )
  validate.choose(section, name, 'query', QUERIES)
  validate.choose(section, name, 'oracle', ORACLES)
  validate.choose(section, name, 'dissimilarity', committee.MEASURES)
  if section.task != 'segmentation':
    raise ValueError(
      f"Expected {name}.task='segmentation', got {section.task!r}."
    )
  film_masks.read_corrected(section.corrected, section.input)
  if section.oracle == 'person' and stage.config.data.folds:
    raise ValueError(
      f'Expected one split for {name}.oracle=person, as every fold would ask '
      f'for its own films, got data.folds={stage.config.data.folds}: set '
      '--config.data.folds=0.'
    )


def check_films(config: Any, stage: str, workdir: str) -> None:
  """Check that there are films to ask for, and drawn ones that judge.

  Raises:
    ValueError: too few; names the flag.
  """
  films = pool(config, stage, workdir)
  most = max(config[stage].rounds)
  if len(films['id']) < most:
    what = 'outlined ' if config[stage].oracle == 'annotations' else ''
    raise ValueError(
      f'Expected {most} {what}training films for {stage}.rounds, got '
      f'{len(films["id"])}: lower --config.{stage}.rounds.'
    )
  drawn = selection.stage_films(config, stage, workdir)
  judges = np.sum(drawn['split'] == 'validation')
  mask_quality.check_labelled(most, judges)
