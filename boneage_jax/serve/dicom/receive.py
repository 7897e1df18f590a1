"""Takes films in: a Storage SCP whose yes means that a film is on the disk."""

from collections.abc import Sequence
import errno
import logging
import re
from typing import Any

from boneage_jax.core import door
from boneage_jax.core import optional
from boneage_jax.imaging import limits as limits_lib
from boneage_jax.serve.dicom import folder as folder_lib

# Storage of Computed Radiography, Digital X-Ray for presentation, Secondary
# Capture (PS3.4, B.5); all others are refused when an association is agreed on.
CLASSES = tuple(f'1.2.840.10008.5.1.4.1.1.{x}' for x in ('1', '1.1', '7'))
VERIFICATION = '1.2.840.10008.1.1'
# Of pixels that `dicom_pixels` reads: plain, deflated, RLE, JPEG, JPEG-LS and
# JPEG 2000.
SYNTAXES = tuple(
  f'1.2.840.10008.1.2{x}'
  for x in (
    *('.1', '', '.1.99', '.2', '.5', '.4.50', '.4.51', '.4.57', '.4.70'),
    *('.4.80', '.4.81', '.4.90', '.4.91'),
  )
)
# Answers to a C-STORE (PS3.4, B.2.3; PS3.7, C.5).
SUCCESS, OUT_OF_RESOURCES, INVALID_INSTANCE = 0x0000, 0xA700, 0x0117


def import_pynetdicom() -> Any:
  """Import the package, which is optional.

  Raises:
    ValueError: it is not installed.
  """
  pynetdicom = optional.load('A DICOM node', 'pacs', 'pynetdicom')
  # It tells of each association that fails; `send` says it once.
  logging.getLogger('pynetdicom').setLevel(logging.CRITICAL)
  return pynetdicom


def start(
  folder: folder_lib.Folder,
  place: tuple[str, int],
  title: str,
  allow: Sequence[str],
  limits: limits_lib.Limits,
) -> Any:
  """Listen, in threads; return the server, whose `shutdown` ends them.

  Args:
    folder: that films go to.
    place: address, '' for all of this host, and port.
    title: AE title of the node.
    allow: AE titles that may send; empty for all.
    limits: of the size of a film.

  Raises:
    ValueError: the port is in use.
  """
  pynetdicom = import_pynetdicom()
  entity = pynetdicom.AE(ae_title=title)
  entity.add_supported_context(VERIFICATION)
  for uid in CLASSES:
    entity.add_supported_context(uid, list(SYNTAXES))
  entity.require_calling_aet = list(allow)
  take = lambda event: _take(event, folder, limits)
  handlers = [(pynetdicom.evt.EVT_C_STORE, take)]
  try:
    return entity.start_server(place, block=False, evt_handlers=handlers)
  except OSError as error:
    remedy = 'choose another --port'
    if error.errno == errno.EACCES:
      remedy = 'choose a --port above 1023'
    raise ValueError(
      f'Port {place[1]} cannot be used ({door.reason(error)}): {remedy}.'
    ) from error


def _take(
  event: Any, folder: folder_lib.Folder, limits: limits_lib.Limits
) -> int:
  """Keep a film, and return the status of that."""
  uid = str(event.request.AffectedSOPInstanceUID)
  if not re.fullmatch(r'[0-9.]{1,64}', uid):
    return INVALID_INSTANCE
  data = event.encoded_dataset()
  if len(data) > limits.megabytes * 1e6:
    return OUT_OF_RESOURCES
  try:
    folder.take(uid, data)
  except OSError as error:
    door.say(f'A film was not taken: {door.reason(error)}')
    return OUT_OF_RESOURCES
  return SUCCESS
