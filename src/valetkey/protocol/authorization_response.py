"""The authorization response (RFC 6749 §4.1.2), which the browser carries back to the client."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from .uri import add_query


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """Authorization response to a client, sent by a redirect or by a form (OAuth 2.0 Form Post Response Mode).

    :param redirect_uri: the client's redirect URI, already checked to be registered.
    :param response_mode: ``query`` for a redirect, ``form_post`` for a form.
    :param parameters: the parameters of the response, such as ``code`` and ``state``.
    """

    redirect_uri: str
    response_mode: str
    parameters: dict[str, str]

    def location(self) -> str:
        """Return the redirect URI with the response parameters added to its query: the ``Location`` of a redirect."""
        return add_query(self.redirect_uri, urlencode(self.parameters))
