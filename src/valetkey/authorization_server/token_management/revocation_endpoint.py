"""The revocation endpoint (RFC 7009): revoking the access token or the refresh token of a grant revokes both."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.grant_lifecycle import revoke_grant_statements
from valetkey.authorization_server.personal_tokens.service import revoke_personal_token
from valetkey.authorization_server.token.client_authentication import authenticate
from valetkey.endpoint import Call, MachineResponse
from valetkey.protocol.errors import UnauthorizedClient
from valetkey.protocol.refusal import JSON_HEADERS
from valetkey.protocol.secret import PERSONAL_ACCESS_TOKEN, Secret, is_well_formed
from valetkey.storage import change_feed, grants, personal_access_tokens

from .lookup import TokenInfo, find_token


def revoke(call: Call) -> MachineResponse:
    """Revoke a token, and return status 200, also if it does not exist or was revoked before (RFC 7009 §2.2).

    A personal access token is revoked without client authentication, because it was issued to no client.

    :raises UnauthorizedClient: if the token was issued to another client (RFC 7009 §2.1).
    """
    if is_well_formed(call.parameters.get("token") or "", PERSONAL_ACCESS_TOKEN):
        return _revoke_personal_token(call)
    client = authenticate(call, "revocation_limit")
    token = find_token(call.runtime, call.parameters.require("token"), call.now, include_used=True)
    if token is not None:
        if token.client_id != client.client_id:
            raise UnauthorizedClient("the token was not issued to this client")
        _revoke_token(token, call)
    return MachineResponse(200, b"{}", JSON_HEADERS)


def _revoke_personal_token(call: Call) -> MachineResponse:
    digest = Secret(call.parameters.require("token")).digest()
    token = personal_access_tokens.find_active(call.runtime.store, digest, call.now)
    if token is not None:
        revoke_personal_token(token, call.runtime.store, call.now, call.address)
    return MachineResponse(200, b"{}", JSON_HEADERS)


def _revoke_token(token: TokenInfo, call: Call) -> None:
    runtime = call.runtime
    grant = grants.find(runtime.store, token.grant_id) if token.grant_id else None
    if grant is not None:
        runtime.store.write_all(*revoke_grant_statements(grant, call.now, "token.revoked", call.address))
    elif token.jti is not None:
        runtime.store.write_all(
            change_feed.add_token(token.jti, token.expires_at),
            audit_statement("token.revoked", call.now, client_id=token.client_id, address=call.address),
        )
