"""Films of `untrained_run.create` as files, and rows of predictions."""

import csv

import cv2


def path(run, film):
  return str(run / 'films' / f'{film}.png')


def read(run, film):
  return cv2.imread(path(run, film), cv2.IMREAD_GRAYSCALE)


def rows(path):
  """The rows of a predictions.csv."""
  with open(path, newline='') as file:
    return list(csv.DictReader(file))
