"""The credentials of a registered client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """A registered client; a public client has no secret, a machine client no redirect URI."""

    client_id: str
    client_secret: str | None
    redirect_uri: str | None
