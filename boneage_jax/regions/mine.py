"""The `mine` job: a net's own good masks teach it (Iglovikov 2017).

"Positive mining": few films are outlined by hand. A net that learned from them
masks the other training films, the good masks join the training, and so on for
some rounds. People judged the masks there; here limits do that labelled films
set, see imaging/mask_quality.py, and a folder of corrected masks overrides
them. Films for validation and test are masked at the end alone.
"""

from collections.abc import Mapping
import copy
import dataclasses
import os
from typing import Any

import numpy as np

from boneage_jax.core import distributed
from boneage_jax.core import stages
from boneage_jax.core import storage
from boneage_jax.data import film_masks
from boneage_jax.data import film_table
from boneage_jax.data import selection
from boneage_jax.data import splits as splits_lib
from boneage_jax.imaging import mask_quality
from boneage_jax.regions import mask_views
from boneage_jax.regions import review
from boneage_jax.runs import checkpoints
from boneage_jax.runs import lineage
from boneage_jax.training import loop
from boneage_jax.training import restore

LABELLED, HUMAN, REFUSED = 'labelled', 'human', 'refused'
ACCEPTED = film_masks.ACCEPTED


def mine(config: Any, stage: str, workdir: str) -> None:
  """Run the rounds of a stage, then mask every film with the last net.

  Each round has a folder, round_<k>, with the masks that it was trained on and
  all files of a trained stage; a killed job goes on at its round. The folder of
  the stage gets the last net, masks.array_record and masks.csv of all films,
  limits.json, rounds.json, and review/ with the refused films. Without rounds
  the net and the limits are those of the stage that `init_from` names.

  Raises:
    ValueError: no labelled films, or unreadable corrected masks.
  """
  rounds = config[stage].rounds
  expanded = with_rounds(config, stage)
  for number in range(1, rounds + 1):
    name = round_name(stage, number)
    folder = stages.path(workdir, name)
    if not distributed.exists(stages.path(workdir, name, film_masks.TABLE)):
      storage.make_folder(folder)
      found, kept = judge(expanded, stage, name, workdir, 'train')
      write(folder, found, kept, config[stage].input)
      distributed.print_once(f'{name}: {counts(found)}.')
    if not distributed.exists(stages.path(workdir, name, stages.DONE)):
      loop.train_and_evaluate(expanded, name, workdir)
  last = round_name(stage, rounds) if rounds else ''
  done = mask_all(expanded, stage, workdir, last)
  result = [_round(stage, number, workdir) for number in range(1, rounds + 1)]
  path = lambda file: stages.path(workdir, stage, file)

  def end() -> None:
    storage.write_json(path(stages.ROUNDS_JSON), result, indent=1)
    storage.write_json(path(stages.DONE), done)

  distributed.on_main_process(end)


def round_name(stage: str, number: int) -> str:
  """Name a round as a stage."""
  return f'{stage}/round_{number}'


def with_rounds(config: Any, stage: str) -> Any:
  """Return the config with a stage for each round that goes on from the last.

  A round is trained as the stage says, on what was drawn and on its own masks.
  """
  config = copy.deepcopy(config).unlock()
  section = config[stage]
  for number in range(1, section.rounds + 1):
    one = copy.deepcopy(section)
    one.job, one.epochs, one.steps = 'train', 0, section.steps_per_round
    one.seed = section.seed + number
    one.input.masks_from = round_name(stage, number)
    if number > 1:
      before = f':{round_name(stage, number - 1)}'
      one.init_from.update(run=before, only='')
    config[round_name(stage, number)] = one
  return config


@dataclasses.dataclass
class Judged:
  """A film's mask and what was made of it.

  Attributes:
    film: its id.
    split: its split.
    status: one of LABELLED, HUMAN, ACCEPTED, REFUSED.
    reason: of a refusal; of a labelled film, why the net's mask would be
      refused.
    mask: uint8 [h, w], 255 times the probability: the mean of what the net says
      of the film and of its mirror image (ours).
    measures: of the mask.
  """

  film: str
  split: str
  status: str
  reason: str
  mask: np.ndarray
  measures: mask_quality.Measures

  def row(self, everything: bool) -> dict[str, Any]:
    """Return the film's row of masks.csv."""
    chosen = self.status in (HUMAN, ACCEPTED)
    row = {'id': self.film, 'split': self.split, 'status': self.status}
    row |= {'reason': self.reason, 'stored': int(everything or chosen)}
    values = dataclasses.asdict(self.measures).items()
    return row | {name: f'{value:.4f}' for name, value in values}


def judge(
  config: Any, stage: str, name: str, workdir: str, *splits: str
) -> tuple[list[Judged], mask_quality.Limits]:
  """Mask films with the net that a round starts from, and judge the masks.

  Args:
    config: of `with_rounds`.
    stage: that mines; its films are those that people outlined.
    name: of the round.
    workdir: of the run.
    *splits: whose films are masked.

  Returns:
    each film of these splits, and the limits that were kept.
  """
  section = config[stage]
  films, _ = selection.split_films(
    config, workdir, section.input.builder_config
  )
  human = film_masks.read_corrected(section.corrected, section.input)
  unknown = sorted(set(human) - set(films['id'].tolist()))
  if unknown:
    raise ValueError(
      f'Expected corrected masks <id>.png of films of the data set in '
      f'{section.corrected}, got {", ".join(unknown[:5])}: rename or remove '
      'them.'
    )
  labelled: set[str] = set()
  if section.rounds:
    drawn = selection.stage_films(config, stage, workdir)
    labelled = set(drawn['id'].tolist())
  wanted = np.isin(films['split'], splits)
  wanted |= np.isin(films['id'], list(labelled)) & (films['split'] != 'test')
  judged, areas = [], {}
  look = mask_views.Net(config, stage, name, workdir)
  for film, split, found, mirrored, area in look(
    film_table.select(films, wanted)
  ):
    measures = mask_quality.measure(found / 255.0, mirrored / 255.0)
    mean = mask_quality.mean(found, mirrored)
    judged.append(Judged(film, split, '', '', mean, measures))
    areas[film] = area
  kept = _limits(config, stage, workdir, judged, areas, labelled)
  judged = [one for one in judged if one.split in splits]
  for one in judged:
    one.reason = mask_quality.reason(one.measures, kept)
    one.status = REFUSED if one.reason else ACCEPTED
    if one.film in human:
      one.status, one.reason, one.mask = HUMAN, '', human[one.film]
    elif one.film in labelled:
      one.status = LABELLED
  return judged, kept


def write(
  folder: str,
  judged: list[Judged],
  kept: mask_quality.Limits,
  input_config: Any,
  everything: bool = False,
) -> None:
  """Write limits.json, the masks to train on, or all, and masks.csv."""
  path = os.path.join(folder, stages.LIMITS)
  limits = dataclasses.asdict(kept)
  distributed.on_main_process(lambda: storage.write_json(path, limits))
  rows = [one.row(everything) for one in judged]
  taken = set(film_masks.stored(rows))
  masks = [one.mask for one in judged if one.film in taken]
  film_masks.write(folder, rows, masks, input_config)


def counts(judged: list[Judged]) -> str:
  """Say how many masks are of which status."""
  states = [one.status for one in judged]
  return ', '.join(
    f'{states.count(status)} {status}'
    for status in (LABELLED, HUMAN, ACCEPTED, REFUSED)
    if status in states
  )


def _limits(
  config: Any,
  stage: str,
  workdir: str,
  judged: list[Judged],
  areas: Mapping[str, float],
  labelled: set[str],
) -> mask_quality.Limits:
  """Return the limits that films with drawn masks set.

  Without rounds they are those of the stage that the net comes from.
  """
  if not config[stage].rounds:
    _, before, folder = lineage.parent_run(config, stage, workdir)
    path = stages.path(folder, before, stages.LIMITS)
    if not storage.exists(path):
      raise ValueError(
        f'Expected {path}, the limits of masks, found none: without rounds '
        f'{stage} takes net and limits of a finished stage with the job '
        f'mine. Name one with --config.{stage}.init_from.run, or set '
        f'--config.{stage}.rounds.'
      )
    with storage.naming(path):
      return mask_quality.Limits(**storage.read_json(path))
  drawn = [one for one in judged if one.film in labelled and areas[one.film]]
  return mask_quality.limits(
    [areas[one.film] for one in drawn if one.split == 'train'],
    [one.measures for one in drawn if one.split == 'validation'],
    **config[stage].accept,
  )


def mask_all(
  config: Any, stage: str, workdir: str, last: str
) -> Mapping[str, Any]:
  """Keep the last net of a stage, mask all films with it, and write review/.

  Args:
    config: with a stage for each net.
    stage: that gets the net, limits.json, masks.array_record and masks.csv.
    workdir: of the run.
    last: the stage of that net; '' for the one that `init_from` names.

  Returns:
    content of its done.json.
  """
  folder, end = stages.path(workdir, stage), f'{stage}/end'
  config[end] = copy.deepcopy(config[stage])
  if last:
    config[end].init_from.run = f':{last}'
  parent = lineage.parent_run(config, end, workdir)
  _, variables = restore.load_net(*parent)
  store = checkpoints.Checkpoints(os.path.join(folder, stages.CHECKPOINTS))
  _, name, of = parent
  path = stages.path(of, name, stages.DONE)
  done = storage.read_json(path, keys=('best_step',))
  if store.best_step() is None:
    store.save_best(done['best_step'], variables, 0.0)
  store.close()
  judged, kept = judge(config, stage, end, workdir, *splits_lib.SPLITS)
  write(folder, judged, kept, config[stage].input, everything=True)
  distributed.print_once(f'{stage}, all films: {counts(judged)}.')
  review.write(config, stage, workdir, judged)
  return done


def _round(stage: str, number: int, workdir: str) -> Mapping[str, Any]:
  """Return the figures of a round: its masks, and how well it masks then."""
  name = round_name(stage, number)
  rows = film_masks.read_table(stages.path(workdir, name))
  states = [row['status'] for row in rows]
  reasons = [row['reason'] for row in rows if row['status'] == REFUSED]
  path = stages.path(workdir, name, stages.SEGMENTATION)
  return {
    'round': number,
    'masks': {status: states.count(status) for status in sorted(set(states))},
    'refused': {why: reasons.count(why) for why in sorted(set(reasons))},
    'segmentation': storage.read_json(path),
  }


def check(stage: stages.Stage) -> None:
  """Check the settings of mining, before it runs.

  Raises:
    ValueError: a value that it cannot use; names the field.
  """
  section, name = stage.section, stage.name
  if section.rounds < 0 or (section.rounds and section.steps_per_round < 1):
    raise ValueError(
      f'Expected {name}.rounds of 0 or more, each of 1 step or more, got '
      f'{section.rounds} of {section.steps_per_round}: change '
      f'--config.{name}.rounds or --config.{name}.steps_per_round.'
    )
  if not section.init_from.run:
    raise ValueError(
      f'Expected a net to start from, got none: name a stage with the task '
      f'segmentation with --config.{name}.init_from.run.'
    )
  film_masks.read_corrected(section.corrected, section.input)
