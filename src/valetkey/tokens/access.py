"""The scopes, resources and owner of a new access token. They are found once for each token request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """The access that a request gets, after all checks.

    :param client_id: the client that gets the token.
    :param scope: the names of the scopes.
    :param audience: the URLs of the resources; the first one decides the format and the signing algorithm of the token.
    :param owner: the ``sub`` of the resource owner; ``None`` if there is none, or the owner is not known yet.
    :param now: the time of the request, in seconds since 1970.
    """

    client_id: str
    scope: frozenset[str]
    audience: tuple[str, ...]
    owner: str | None
    now: float
