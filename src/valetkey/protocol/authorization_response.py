"""The authorization response (RFC 6749 §4.1.2): what the browser takes back to the client."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """What the browser takes to the client: by a redirect, or by a form (OAuth 2.0 Form Post Response Mode)."""

    redirect_uri: str
    mode: str
    parameters: dict[str, str]

    def location(self) -> str:
        """The redirect URI with the parameters in its query."""
        scheme, netloc, path, query, _ = urlsplit(self.redirect_uri)
        added = urlencode(self.parameters)
        return urlunsplit((scheme, netloc, path, f"{query}&{added}" if query else added, ""))
