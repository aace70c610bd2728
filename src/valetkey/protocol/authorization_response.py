"""The authorization response (RFC 6749 §4.1.2): what the browser takes back to the client."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """What the browser takes to the client: by a redirect, or by a form (OAuth 2.0 Form Post Response Mode)."""

    redirect_uri: str
    response_mode: str
    parameters: dict[str, str]

    def location(self) -> str:
        """The redirect URI with the parameters in its query."""
        joint = "" if self.redirect_uri.endswith(("?", "&")) else "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{joint}{urlencode(self.parameters)}"
