"""Why a request is refused: a status and a sentence for whoever sent it."""

from collections.abc import Mapping
import types

# Statuses that say what they mean in the description of the interface.
MEANINGS = {
  400: 'The header Host names another machine.',
  401: 'The token is missing or wrong.',
  403: "Another site's page sent the request.",
  404: 'There is no such address.',
  405: 'The address takes another method.',
  408: 'The films came too slowly.',
  413: 'The body is too large, or a film has too many pixels.',
  415: 'The body is no form, or a file is no film.',
  422: 'The form is not as expected, or a film cannot be read.',
  429: 'Others are waiting: send it again after Retry-After seconds.',
  500: 'A fault of the server.',
}


class RefusedError(Exception):
  """A request is refused.

  Attributes:
    status: of HTTP.
    reason: a sentence that a person at the page can act on.
    headers: of the answer.
  """

  def __init__(
    self,
    status: int,
    reason: str,
    headers: Mapping[str, str] = types.MappingProxyType({}),
  ):
    """Hold them."""
    super().__init__(reason)
    self.status, self.reason, self.headers = status, reason, headers


FAULT = RefusedError(500, 'The server has a fault, which its log names.')
