"""An authorization request after its checks; as JSON it waits in the store, checked, for the owner's answer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from valetkey.protocol.errors import OAuthError
from valetkey.storage.clients import Client


@dataclass(frozen=True, slots=True)
class CheckedTarget:
    """A client and one of its own redirect URIs: the only thing that is ever redirected to.

    Only ``authorization_endpoint.check_target`` makes one.
    """

    client: Client
    redirect_uri: str
    redirect_uri_sent: bool
    state: str | None
    issuer: str

    def location(self, answer: dict[str, str]) -> str:
        """Where the browser goes next, with ``state`` and ``iss`` (RFC 9207) on it."""
        if self.state is not None:
            answer = {**answer, "state": self.state}
        scheme, netloc, path, query, _ = urlsplit(self.redirect_uri)
        added = urlencode({**answer, "iss": self.issuer})
        return urlunsplit((scheme, netloc, path, f"{query}&{added}" if query else added, ""))

    def refusal(self, refusal: OAuthError) -> str:
        return self.location(refusal.body())


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What was asked, checked (RFC 6749 §4.1.1)."""

    client_id: str
    redirect_uri: str
    redirect_uri_sent: bool
    state: str | None
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    code_challenge: str | None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AuthorizationRequest:
        read = json.loads(text)
        return cls(**{**read, "scope": tuple(read["scope"]), "resources": tuple(read["resources"])})
