"""Token revocation (RFC 7009): an access token takes its refresh token with it, and back."""

from __future__ import annotations

from valetkey.activity.auditing import audit
from valetkey.protocol.errors import UnauthorizedClient
from valetkey.runtime import JSON_HEADERS, Answer, Call
from valetkey.storage import grants, revocations

from .any_token import KnownToken, find_token
from .client_authentication import authenticate
from .family import end_grant


def revoke(call: Call) -> Answer:
    """200 whether or not there was something to revoke (§2.2).

    :raises UnauthorizedClient: where the token is another client's (§2.1).
    """
    client = authenticate(call)
    token = find_token(call.runtime, call.parameters.required("token"), call.now)
    if token is not None:
        if token.client_id != client.client_id:
            raise UnauthorizedClient("the token was not issued to this client")
        _revoke(token, call)
    return Answer(200, b"{}", JSON_HEADERS)


def _revoke(token: KnownToken, call: Call) -> None:
    runtime = call.runtime
    grant = grants.find(runtime.store, token.grant_id) if token.grant_id else None
    if grant is not None:
        runtime.revoke(*end_grant(runtime, grant, call.now, "token.revoked", call.address))
    elif token.jti is not None:
        runtime.revoke(
            revocations.add("token", token.jti, call.now, runtime.revocation_ends),
            audit("token.revoked", call.now, client_id=token.client_id, address=call.address),
        )
