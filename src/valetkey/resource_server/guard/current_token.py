"""``current_token``, the access token of the current request."""

from __future__ import annotations

from typing import Any, cast

from flask import has_request_context, request
from werkzeug.local import LocalProxy

from valetkey.protocol.access_token import AccessToken
from valetkey.web.wsgi import TOKEN_KEY


def _current_token() -> AccessToken | None:
    """Return the access token of the current request, or ``None`` if there is none.

    The token is in the WSGI environment and not in ``flask.g``, since a test may keep one application context open for
    many requests.
    """
    return request.environ.get(TOKEN_KEY) if has_request_context() else None


class _CurrentToken(LocalProxy[AccessToken | None]):
    """Proxy for the access token of the current request.

    If the request has no token, attribute access raises an ``AttributeError`` that says so.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        token = _current_token()
        if token is None:
            raise AttributeError(f"the request has no access token: current_token is false and has no {name}")
        return getattr(token, name)


#: The access token of the current request. It is false if the request has none: in a public view, in a view with
#: ``require_oauth(optional=True)`` that is called without a token, and outside of requests.
current_token: AccessToken = cast(AccessToken, _CurrentToken(_current_token))
