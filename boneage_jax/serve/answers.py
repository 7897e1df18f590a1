"""Predictions as JSON: the cells of predictions.csv, sentences and pictures."""

import base64
from typing import Any

import cv2
import numpy as np

from boneage_jax.inference import film_batches
from boneage_jax.inference import prediction as prediction_lib
from boneage_jax.inference import views
from boneage_jax.serve import words

LEFT_OUT = ('split', 'age_true')  # columns that say nothing of a new film


def of(
  answer: film_batches.Answer,
  prediction: prediction_lib.Prediction,
  inverted: bool,
) -> dict[str, Any]:
  """Return what is said of a film.

  Args:
    answer: with the film and its file.
    prediction: of it.
    inverted: whether films of the run have dark bones.

  Returns:
    The cells of its row in predictions.csv, numbers as numbers and None where
    a cell is empty; `messages`, sentences; `probability`, [240] or None;
    `pictures`, data URLs by name, None unless there are layers.
  """
  file = answer.file
  prediction = prediction_lib.with_notes(
    *(prediction, file.notes, file.flags), answer.known
  )
  answer = answer._replace(prediction=prediction)
  cells = views.film_row(prediction, answer, False)
  said = {
    name: None if cell == '' else views.value(name, cell)
    for name, cell in cells.items()
    if name not in LEFT_OUT
  }
  said['messages'] = list(words.messages(prediction, file.sex, inverted))
  said['probability'] = _probability(prediction)
  said['pictures'] = _pictures(prediction)
  return said


def _probability(prediction: prediction_lib.Prediction) -> list[float] | None:
  if prediction.probability is None or prediction.withheld:
    return None
  return np.round(prediction.probability.astype(float), 6).tolist()


def _pictures(prediction: prediction_lib.Prediction) -> dict[str, Any] | None:
  layers = prediction.layers
  if layers is None:
    return None
  return {name: _url(layer) for name, layer in layers._asdict().items()}


def _url(layer: np.ndarray | None) -> str | None:
  """Return a picture, grey or RGBA, as a data URL."""
  if layer is None:
    return None
  if layer.ndim == 3:
    layer = cv2.cvtColor(layer, cv2.COLOR_RGBA2BGRA)
  data = cv2.imencode('.png', layer)[1].tobytes()
  return f'data:image/png;base64,{base64.b64encode(data).decode()}'
