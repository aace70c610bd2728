"""Access tokens as objects, for tests of what is done with tokens that were verified."""

from __future__ import annotations

from tests.support.clock import NOW
from valetkey.protocol.access_token import AccessToken


def access_token_of(client_id: str, *, grant_id: str | None = None, jti: str = "jti") -> AccessToken:
    """Return a valid access token with these claims."""
    return AccessToken(
        issuer="https://issuer.example",
        client_id=client_id,
        user_id=None if grant_id is None else "ada",
        scopes=frozenset({"profile"}),
        audience=("https://issuer.example/api",),
        issued_at=NOW,
        expires_at=NOW + 3600,
        jti=jti,
        grant_id=grant_id,
        auth_time=None,
        acr=None,
        claims={},
        counted_as=client_id,
    )
