"""What `/openapi.json` says of bodies and answers, with examples."""

from typing import Annotated
from typing import Any

import fastapi
import pydantic

from boneage_jax.core import scalars
from boneage_jax.data import groups
from boneage_jax.inference import quality
from boneage_jax.serve import atlas
from boneage_jax.serve import form
from boneage_jax.serve import refusals

DESCRIPTION = (
  'Bone age of hand radiographs. For research, not for diagnosis. Ages are '
  'months. Nothing that is sent is stored.'
)
EXAMPLE = {
  'file': 'hand.png',
  'sex': 'F',
  'age_predicted': 126.3,
  'lo90': 110.2,
  'hi90': 141.9,
  'status': quality.OK,
  'quality_flags': None,
  'age_if_male': None,
  'age_if_female': None,
  'male_share': None,
  'male_share_from': None,
  'method': 'cascade:phantom, assessor',
  'version': '0.1.0',
  'trained_on': '1,600 synthetic films',
  'messages': [],
  'probability': None,
  'pictures': None,
}
REFUSED = {
  **EXAMPLE,
  'age_predicted': None,
  'lo90': None,
  'hi90': None,
  'status': quality.REFUSED,
  'quality_flags': 'blank',
  'messages': [quality.SENTENCES['blank']],
}


class Pictures(pydantic.BaseModel):
  """PNG as data URLs, of one size, to lie on each other."""

  film: str
  heat: str | None
  marks: str | None


class Film(pydantic.BaseModel):
  """What is said of a film: the columns of predictions.csv, and more."""

  model_config = pydantic.ConfigDict(
    extra='allow', json_schema_extra={'examples': [EXAMPLE, REFUSED]}
  )

  file: str | None = pydantic.Field(description='its name, as it was sent')
  sex: str = pydantic.Field(description='that was given')
  age_predicted: float | None = pydantic.Field(
    description='months; null of a film that is refused'
  )
  lo90: float | None = pydantic.Field(
    description='lower end of the 90 % interval, of a calibrated run'
  )
  hi90: float | None = pydantic.Field(description='its upper end')
  status: str = pydantic.Field(description='ok, check or refused')
  quality_flags: str | None = pydantic.Field(
    description='checks that it fails, with spaces between them'
  )
  age_if_male: float | None = pydantic.Field(
    description='where the sex is unknown'
  )
  age_if_female: float | None
  male_share: float | None = pydantic.Field(
    description='weight of age_if_male in the age of a film of unknown sex'
  )
  male_share_from: str | None = pydantic.Field(
    description='p_male, as the nets tell it, or half_each'
  )
  messages: list[str] = pydantic.Field(
    description='what to know before trusting the age'
  )
  probability: list[float] | None = pydantic.Field(
    description='of the months 0, 1, ..., of nets with bins'
  )
  pictures: Pictures | None


class Health(pydantic.BaseModel):
  """The server answers."""

  status: str = pydantic.Field(examples=['ok'])
  waiting: int = pydantic.Field(
    description='requests with films that are inside', examples=[0]
  )


class Limits(pydantic.BaseModel):
  """The most that is taken."""

  megapixels: float = pydantic.Field(description='of a film', examples=[64])
  megabytes: float = pydantic.Field(description='of a request', examples=[64])
  films: int = pydantic.Field(description='of a request', examples=[16])
  at_once: int = pydantic.Field(description='requests', examples=[16])


class Version(pydantic.BaseModel):
  """What ages rest on."""

  version: str = pydantic.Field(examples=['0.1.0'])
  jax: str = pydantic.Field(examples=['0.10.2'])
  method: str = pydantic.Field(examples=[EXAMPLE['method']])
  trained_on: str = pydantic.Field(examples=[EXAMPLE['trained_on']])
  synthetic: bool = pydantic.Field(
    description='whether these are phantoms, so that ages of real films are '
    'meaningless'
  )
  sexes: list[str] = pydantic.Field(examples=[list(groups.SEX)])
  inputs: list[str] = pydantic.Field(
    description='numbers that each film needs beside its sex',
    examples=[list(scalars.SCALARS)],
  )
  calibrated: bool = pydantic.Field(description='whether there are intervals')
  quality_checks: bool = pydantic.Field(
    description='whether films are refused for what they show'
  )
  site: str | None = pydantic.Field(description='whose correction ages get')
  limits: Limits


class Change(pydantic.BaseModel):
  """A change of an ossification centre, of phantoms."""

  month: int = pydantic.Field(
    description='bone age at which half of the hands show it', examples=[71]
  )
  centre: str = pydantic.Field(examples=['trapezium'])
  what: str = pydantic.Field(examples=['appears'])
  x: float = pydantic.Field(description='of the width of the picture')
  y: float = pydantic.Field(description='of its height')


class Refusal(pydantic.BaseModel):
  """Why a request is refused."""

  detail: str = pydantic.Field(
    examples=['hand.txt: expected PNG, JPEG, DICOM, TIFF or BMP.']
  )


AtlasSex = Annotated[
  str,
  fastapi.Path(description='M or F', json_schema_extra={'enum': ['M', 'F']}),
]
Months = Annotated[
  int,
  fastapi.Path(
    description='bone age',
    json_schema_extra={
      'minimum': atlas.ages()[0],
      'maximum': atlas.ages()[-1],
    },
  ),
]
_SEX = {'type': 'string', 'enum': list(groups.SEX)}


def _number(name: str) -> dict[str, Any]:
  """Describe a field with a number of films."""
  one = scalars.SCALARS[name]
  return {
    'type': 'array',
    'items': {'type': 'number', 'minimum': 0, 'maximum': one.most},
    'description': f'{one.unit}; once for all, or once a film in their order; '
    'for nets that read it',
  }


PREDICT: dict[str, Any] = {
  'requestBody': {
    'required': True,
    'content': {
      form.TYPE: {
        'schema': {
          'type': 'object',
          'required': ['file', 'sex'],
          'properties': {
            'file': {
              'type': 'array',
              'minItems': 1,
              'items': {'type': 'string', 'format': 'binary'},
              'description': 'films: PNG, JPEG, DICOM, TIFF or BMP',
            },
            'sex': {
              'type': 'array',
              'minItems': 1,
              'items': _SEX,
              'description': 'once for all, or once a film in their order',
            },
            **{name: _number(name) for name in scalars.SCALARS},
            'pictures': {
              'type': 'string',
              'enum': list(form.YES_NO),
              'description': 'whether pictures of the films are wanted',
            },
          },
        },
        'example': {'file': ['(bytes)'], 'sex': ['F'], 'pictures': 'true'},
      }
    },
  }
}


def responses(*statuses: int) -> dict[int, dict[str, Any]]:
  """Describe refusals for FastAPI."""
  found = {
    status: {'model': Refusal, 'description': refusals.MEANINGS[status]}
    for status in statuses
  }
  if 429 in found:
    seconds = {'schema': {'type': 'integer'}, 'description': 'seconds'}
    found[429]['headers'] = {'Retry-After': seconds}
  return found
