"""What an app's developer knows after registering it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """A registered client; a public one has no secret, a machine's no redirect URI."""

    client_id: str
    client_secret: str | None
    redirect_uri: str | None
