"""Predictions of new films as lines of text and rows of predictions.csv."""

from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from boneage_jax.imaging import age_maps
from boneage_jax.imaging import boxes
from boneage_jax.imaging import mask_quality
from boneage_jax.imaging import palm
from boneage_jax.imaging import registration
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.regions import placement

STATUS = {
  placement.BY_POINTS: 'registered by points',
  placement.BY_MASK: 'registered by its mask',
  placement.FAILED: 'not registered',
}
# Words of registration.csv, and why a film is registered otherwise.
FAULTS = {
  registration.MISSING: 'a point is missing',
  registration.TOGETHER: 'points lie in one place',
  registration.ON_LINE: 'the thumb lies on the line of the other points',
  'scale': 'the hand is too small or too large',
  'angle': 'the hand is not upright',
  'thumb_to_tip': 'the tip of the thumb is too near or too far from that of '
  'the middle finger',
  'thumb_to_capitate': 'the tip of the thumb is too near or too far from the '
  'wrist',
  'order': 'the tip of the thumb is too high or too low',
  placement.NO_MASK: 'there is no mask that can be used',
  palm.NO_HAND: 'the mask does not show a hand',
}


def years(age: float) -> str:
  """Write months as years and months, as '10 y 6 mo'."""
  months = round(age)
  return f'{months // 12} y {months % 12} mo'


def map_text(ages: np.ndarray) -> str:
  """Say what a map of ages [h, w] shows."""
  height, width = ages.shape
  low, high = np.min(ages), np.max(ages)
  return f'{low:.1f} to {high:.1f} months at {height} x {width} places'


def pose_text(pose: age_maps.Pose) -> str:
  """Say which frame a deformation layer took for its whole map."""
  turn = 'clockwise' if pose.turn_deg > 0 else 'counter-clockwise'
  across = 'right' if pose.right > 0 else 'left'
  along = 'down' if pose.down > 0 else 'up'
  mirrored = ', mirrored' if pose.mirrored else ''
  return (
    f'frame turned {turn} by {abs(pose.turn_deg):.1f} degrees, '
    f'{100 * pose.width:.1f} % wide and {100 * pose.height:.1f} % high, '
    f'shifted {across} by {100 * abs(pose.right):.1f} % and {along} by '
    f'{100 * abs(pose.down):.1f} % of the side{mirrored}'
  )


def format_line(prediction: prediction_lib.Prediction) -> str:
  """Say in one line what was found."""
  if prediction.withheld:
    why = prediction.reason or _reasons(prediction)
    return f'refused, no age: {why}'
  age = prediction.age_predicted
  line = f'{years(max(age, 0))} ({age:.1f} months'
  if prediction.lo90 is not None:
    line += f', 90 %: {prediction.lo90:.1f} to {prediction.hi90:.1f}'
  line += ')'
  if prediction.age_if_male is not None:
    line += (
      f', sex unknown: {prediction.age_if_male:.1f} if male, '
      f'{prediction.age_if_female:.1f} if female, {_shares(prediction)}'
    )
  for name, value in prediction.extra.items():
    if name != prediction.male_share_from:  # said already
      line += f', {name} {value:.3g}'
  if prediction.sds is not None:
    line += f', SDS {prediction.sds:+.2f}'
  if prediction.site:
    line += f', corrected for {prediction.site}'
  if prediction.regions:
    line += f', regions found: {", ".join(found(prediction)) or "none"}'
  if prediction.hand is not None:
    line += f', {STATUS[prediction.hand.placed.status]}'
  if prediction.age_map is not None:
    line += f', {map_text(prediction.age_map)}'
  if prediction.deformation is not None:
    line += f'; {pose_text(prediction.deformation)}'
  if prediction.film_box != boxes.WHOLE_FILM:
    line += '; border cropped'
  if prediction.rotation_deg:
    line += f'; was rotated by {prediction.rotation_deg} degrees, turned back'
  if prediction.quality_flags:
    line += f'; {prediction.status}: {_reasons(prediction)}'
  return line


def _shares(prediction: prediction_lib.Prediction) -> str:
  """Say how much each sex counts in the age of a film of unknown sex."""
  if prediction.male_share_from == prediction_lib.P_MALE:
    return (
      'weighted by the probability of a male that the net tells, '
      f'{prediction.male_share:.2f}'
    )
  return 'one half each'


def _reasons(prediction: prediction_lib.Prediction) -> str:
  """Name the quality flags, with what was measured and the limit."""
  said = []
  for flag in prediction.quality_flags:
    one = prediction.evidence.get(flag)
    measured = f' ({one.value:.2f}, limit {one.limit:.2f})' if one else ''
    said.append(f'{flag}{measured}')
  return ', '.join(said)


def row(prediction: prediction_lib.Prediction, file: str) -> dict[str, str]:
  """Return a row of predictions.csv, by column.

  The first columns are those of every predictions.csv, `file` in the place of
  the id. Nobody knows the split and the true age of a new film, and only a
  calibrated run has intervals: those cells are empty. Months; boxes in
  fractions, see `Prediction`, as are points. A run that registers films says
  how; cells of a film that was not registered are empty. Of a film that is
  refused, ages are empty unless they are forced.
  """
  ends = {'lo90': '', 'hi90': ''}
  shown = not prediction.withheld
  for level, (low, high) in prediction.intervals.items():
    texts = (f'{end:.1f}' if shown else '' for end in (low, high))
    ends |= dict(zip((f'lo{level}', f'hi{level}'), texts, strict=True))
  cells = {
    'file': file,
    'split': '',
    'sex': prediction.sex,
    'age_true': '',
    'age_predicted': f'{prediction.age_predicted:.4f}' if shown else '',
    'lo90': ends.pop('lo90'),
    'hi90': ends.pop('hi90'),
    'status': prediction.status,
    'quality_flags': ' '.join(prediction.quality_flags),
    **ends,
    **_said(prediction),
    'file_notes': ' '.join(prediction.notes),
    'rotation_deg': str(prediction.rotation_deg),
    'regions': ' '.join(found(prediction)),
    **_sides('film', prediction.film_box),
  }
  for name, region in prediction.regions.items():
    cells |= _sides(name, region.box)
  for name, one in prediction.evidence.items():
    cells |= {
      f'{name}_value': f'{one.value:.4f}',
      f'{name}_limit': f'{one.limit:.4f}',
    }
  if prediction.age_map is not None:
    for name, end in (('low', np.min), ('high', np.max)):
      cells[f'age_map_{name}'] = f'{end(prediction.age_map):.4f}'
  if prediction.deformation is not None:
    pose = prediction.deformation._asdict()
    cells |= {f'deformation_{k}': f'{float(v):.5f}' for k, v in pose.items()}
  return cells | (_hand(prediction.hand) if prediction.hand else {})


def _said(prediction: prediction_lib.Prediction) -> dict[str, str]:
  """Return the cells of what else is said of the age, and what it rests on."""
  numbers = {
    'age_if_male': prediction.age_if_male,
    'age_if_female': prediction.age_if_female,
    'male_share': prediction.male_share,
    **prediction.extra,
    'chronological_age': prediction.chronological_age,
    'sds': prediction.sds,
  }
  if prediction.withheld:
    known = prediction.chronological_age
    numbers = dict.fromkeys(numbers) | {'chronological_age': known}
  source = '' if prediction.withheld else prediction.male_share_from
  texts = dict.fromkeys(('method', 'version', 'trained_on'), '')
  if prediction.basis is not None:
    texts = {name: getattr(prediction.basis, name) for name in texts}
  cells = {
    name: '' if value is None else f'{value:.4f}'
    for name, value in numbers.items()
  }
  said = {'male_share_from': source, 'site': prediction.site}
  return {**cells, **said, **texts}


def hand_warnings(hand: placement.Hand) -> Iterator[str]:
  """Say what a user should know of how a film was registered."""
  placed = hand.placed
  if placed.reason:
    why = '; '.join(FAULTS[word] for word in placed.reason.split())
    how = {
      placement.BY_MASK: 'the points that were found are not plausible, so '
      'that the film was registered by its mask',
      placement.FAILED: 'the film was not registered',
    }
    yield f'{how[placed.status]} ({why})'
  if hand.mask_reason:
    text = f'the mask of the hand is doubtful ({hand.mask_reason})'
    kept = not mask_quality.usable(hand.mask_reason)
    yield text + (', and what lies around the hand was kept' if kept else '')


def found(prediction: prediction_lib.Prediction) -> list[str]:
  """Name the regions that were found; the whole film stands for the others."""
  return [name for name, region in prediction.regions.items() if region.found]


def _hand(hand: placement.Hand) -> dict[str, str]:
  """Return the cells of how a film was registered, and of its points."""
  placed = hand.placed
  cells = {
    'registration': placed.status,
    'registration_reason': placed.reason,
    'scale': '',
    'angle_deg': '',
    'mirrored': '',
    'mask_reason': hand.mask_reason,
  }
  if placed.registration is not None:
    cells |= {
      'scale': f'{placed.registration.scale:.5f}',
      'angle_deg': f'{placed.registration.angle_deg:.3f}',
      'mirrored': str(int(placed.registration.mirrored)),
    }
  for name, point in zip(registration.POINTS, hand.points, strict=True):
    cells |= {
      f'{name}_{axis}': f'{p:.5f}' for axis, p in zip('xy', point, strict=True)
    }
  return cells


def _sides(name: str, box: Sequence[float]) -> dict[str, str]:
  pairs = zip(boxes.COLUMNS[2:6], box, strict=True)
  return {f'{name}_{side}': f'{value:.6f}' for side, value in pairs}
