"""A DICOM node takes films: on the disk first, then the yes."""

import pytest

from boneage_jax.core import durable
from boneage_jax.imaging import limits as limits_lib

pydicom = pytest.importorskip('pydicom')
pytest.importorskip('highdicom')
pytest.importorskip('pynetdicom')
import dicom_peers  # noqa: E402
import node_films  # noqa: E402


def test_a_film_is_on_the_disk_when_it_is_answered(folder):
  films = [
    node_films.film(1),
    node_films.film(2, SOPClassUID='1.2.840.10008.5.1.4.1.1.1.1'),
  ]
  with dicom_peers.listening(folder) as port:
    assert dicom_peers.store(port, films) == [0, 0]
  assert folder.films() == ['1.2.3.1', '1.2.3.2']
  for uid, data in zip(folder.films(), films, strict=True):
    kept = pydicom.dcmread(folder.film(uid))
    sent = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    assert kept == sent


def test_what_is_no_film_is_refused(folder, monkeypatch):
  sr = '1.2.840.10008.5.1.4.1.1.88.33'
  limits = limits_lib.Limits(64, 0.001)
  with dicom_peers.listening(folder, limits=limits) as port:
    of = (*dicom_peers.receive.CLASSES, sr)
    films = [node_films.film(1), node_films.film(2, SOPClassUID=sr)]
    films.append(node_films.film(3, PatientComments='x' * 999))
    assert dicom_peers.store(port, films, classes=of) == [0, None, 0xA700]
    monkeypatch.setattr(dicom_peers.receive.re, 'fullmatch', lambda *_: None)
    assert dicom_peers.store(port, [node_films.film(4)]) == [0x0117]
  assert folder.films() == ['1.2.3.1']


def test_a_full_disk_is_no_yes(folder, monkeypatch):
  def full(path, data):
    raise OSError(28, 'No space left on device')

  with dicom_peers.listening(folder) as port:
    with monkeypatch.context() as patch:
      patch.setattr(durable, 'write', full)
      assert dicom_peers.store(port, [node_films.film(1)]) == [0xA700]
    assert dicom_peers.store(port, [node_films.film(1)]) == [0]
  assert folder.films() == ['1.2.3.1']


def test_only_named_senders_are_let_in(folder):
  with dicom_peers.listening(folder, allow=['CR1', 'CR2']) as port:
    assert dicom_peers.store(port, [node_films.film(1)], calling='OTHER') == [
      None
    ]
    assert dicom_peers.store(port, [node_films.film(2)], calling='CR2') == [0]
  assert folder.films() == ['1.2.3.2']
