"""The token endpoint's successful response (RFC 6749 §5.1)."""

from __future__ import annotations

from valetkey.protocol.json_encoding import encode_json
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import Secret
from valetkey.tokens.generator import GeneratedToken


def token_response_body(
    access_token: GeneratedToken,
    scope: frozenset[str],
    refresh_token: Secret | None = None,
    id_token: str | None = None,
) -> bytes:
    """Return the JSON body of a token response, without ``refresh_token`` or ``id_token`` if it is ``None``."""
    body: dict[str, str | int] = {
        "access_token": access_token.value,
        "token_type": "Bearer",
        "expires_in": access_token.expires_in,
        "scope": format_scope(scope),
    }
    if refresh_token is not None:
        body["refresh_token"] = refresh_token.reveal()
    if id_token is not None:
        body["id_token"] = id_token
    return encode_json(body)
