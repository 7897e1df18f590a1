"""Others that a DICOM node talks to, in this process."""

import contextlib
import io
import threading

import pydicom

from boneage_jax.serve.dicom import receive
from boneage_jax.serve.dicom import send

pynetdicom = receive.import_pynetdicom()


def store(port, films, calling='MODALITY', classes=receive.CLASSES):
  """Sends films, bytes of files; returns their statuses, None where refused."""
  entity = pynetdicom.AE(ae_title=calling)
  for uid in classes:
    entity.add_requested_context(uid, list(receive.SYNTAXES[:2]))
  link = entity.associate('127.0.0.1', port)
  if not link.is_established:
    return [None] * len(films)
  try:
    statuses = []
    for film in films:
      try:
        dataset = pydicom.dcmread(io.BytesIO(film))
        statuses.append(link.send_c_store(dataset).Status)
      except ValueError:  # no context for it
        statuses.append(None)
    return statuses
  finally:
    link.release()


class Receiver:
  """Keeps what it gets, and answers with `status`; a context."""

  def __init__(self, status=0x0000):
    self.status, self.got, self.calls = status, {}, 0
    self._lock = threading.Lock()

  def __enter__(self):
    entity = pynetdicom.AE(ae_title='PACS')
    for uid in send.CLASSES:
      entity.add_supported_context(uid, list(send.SYNTAXES))
    handlers = [(pynetdicom.evt.EVT_C_STORE, self._take)]
    self._server = entity.start_server(
      ('127.0.0.1', 0), block=False, evt_handlers=handlers
    )
    self.port = self._server.server_address[1]
    return self

  def __exit__(self, *error):
    self._server.shutdown()

  def _take(self, event):
    with self._lock:
      self.calls += 1
      if self.status == 0x0000:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.got.setdefault(uid, []).append(event.encoded_dataset(False))
      return self.status


@contextlib.contextmanager
def listening(folder, allow=(), limits=None):
  """Has a node's folder take films; yields the port."""
  from boneage_jax.imaging import limits as limits_lib

  server = receive.start(
    folder, ('127.0.0.1', 0), 'BONEAGE', allow, limits or limits_lib.Limits()
  )
  try:
    yield server.server_address[1]
  finally:
    server.shutdown()
