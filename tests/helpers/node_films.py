"""Films in the folder of a DICOM node, and nets of no time that answer them."""

import os

import dicom_tools
import fake_nets
import numpy as np
import pydicom

from boneage_jax.inference import quality_checks
from boneage_jax.serve.dicom import answer

SETTINGS = {'model': 'a'}


class NoHands:
  """Says that films whose first pixel is dark show no hand."""

  def measure(self, film, outputs):
    value = float(film[0, 0] < 128)
    return {'not_a_hand': quality_checks.Measure(value, 0.5)}


def film(number=1, bright=True, **tags):
  pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
  pixels[0, 0] = 65535 if bright else 0
  uid = {'SOPInstanceUID': f'1.2.3.{number}'}
  return dicom_tools.film(pixels, **{**uid, **tags})


def answerer(folder, nets=None):
  return answer.Answerer(folder, nets or fake_nets.FakeNets(1), SETTINGS)


def take(folder, *films):
  """Have a node receive films, bytes each."""
  for one in films:
    uid = str(
      pydicom.dcmread(pydicom.filebase.DicomBytesIO(one)).SOPInstanceUID
    )
    folder.take(uid, one)


def objects(folder):
  """Name of each object of a node -> its bytes."""
  names = os.listdir(folder.objects)
  return {
    name: (open(folder.place('objects', name), 'rb').read()) for name in names
  }
