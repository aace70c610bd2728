"""The introspection endpoint (RFC 7662): a client asks whether a token is active."""

from __future__ import annotations

from valetkey.authorization_server.openid.subject import is_pairwise, subject_for_client
from valetkey.authorization_server.token.client_authentication import authenticate_confidential
from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.storage.clients import Client

from .lookup import TokenInfo, find_token

_INACTIVE = {"active": False}


def introspect(call: Call) -> MachineResponse:
    """Return the state of a token as JSON (RFC 7662 §2.2).

    The response has the token's members if it is active and the client may introspect it, else ``{"active": false}``.

    :raises InvalidClient: if client authentication fails, or the client is public.
    :raises TooManyRequests: if the client introspects too often.
    """
    client = authenticate_confidential(call, "introspection_limit")
    token = find_token(call.runtime, call.parameters.require("token"), call.now)
    if token is None or not _may_introspect(client, token) or not _is_active(token, call):
        return json_response(_INACTIVE)
    if token.owner is not None and is_pairwise(client) and token.client_id == client.client_id:
        return json_response({**token.members, "sub": subject_for_client(token.owner, client, call.runtime)})
    return json_response(token.members)


def _may_introspect(client: Client, token: TokenInfo) -> bool:
    # A client may introspect its own tokens. A service (policy machine) is a resource server, so it may also
    # introspect every access token that a client sent to it (§4: only protected resources may). Refresh tokens,
    # which have no jti, are never sent to a resource server (RFC 6749 §1.5).
    is_own = token.client_id == client.client_id
    return is_own or (client.policy.name == "machine" and token.jti is not None)


def _is_active(token: TokenInfo, call: Call) -> bool:
    """Return whether the token's client and owner still exist and are enabled."""
    if not token.is_personal and call.runtime.clients.find(token.client_id, call.now) is None:
        return False
    return token.owner is None or call.runtime.owners.find(token.owner) is not None
