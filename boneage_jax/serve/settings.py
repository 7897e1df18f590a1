"""What a server allows."""

from typing import NamedTuple

LOOPBACK = frozenset({'localhost', '127.0.0.1', '[::1]'})


class Settings(NamedTuple):
  """What a server allows.

  Attributes:
    hosts: names in the header Host, besides those of the loopback.
    addresses: whether Host may be any number of a machine.
    token: that every request must have; '' asks for none.
    megapixels: of a film, in millions.
    megabytes: of the body of a request, in millions.
    films: most in a request.
    at_once: requests with films that are worked on or wait.
    body_seconds: for a body, and one more for each `form.SLOWEST` bytes.
  """

  hosts: frozenset[str] = frozenset()
  addresses: bool = False
  token: str = ''
  megapixels: float = 64
  megabytes: float = 64
  films: int = 16
  at_once: int = 16
  body_seconds: float = 20
