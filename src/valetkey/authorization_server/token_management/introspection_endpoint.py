"""The introspection endpoint (RFC 7662): a client asks whether a token is active."""

from __future__ import annotations

from valetkey.authorization_server.openid.subject import is_pairwise, subject_for_client
from valetkey.authorization_server.token.client_authentication import authenticate_confidential
from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.protocol.uri import normalize_resource
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
        return json_response(
            {**token.members, "sub": subject_for_client(token.owner, client, call.runtime.keys, call.now)}
        )
    return json_response(token.members)


def _may_introspect(client: Client, token: TokenInfo) -> bool:
    """Return whether a client may introspect a token: its own, and access tokens as the operator chose.

    Without a choice, a service (policy machine) is a resource server, which may introspect every access token that was
    sent to it (§4). Refresh tokens, which have no ``jti``, are never sent to a resource server (RFC 6749 §1.5).
    """
    if token.client_id == client.client_id:
        return True
    if token.jti is None:
        return False
    choice = client.metadata.get("introspection", "any" if client.policy.name == "machine" else "own")
    if choice == "resource":
        resources = {normalize_resource(uri) for uri in client.metadata.get("introspection_resources", ())}
        return not resources.isdisjoint(map(normalize_resource, token.audience))
    return bool(choice == "any")


def _is_active(token: TokenInfo, call: Call) -> bool:
    """Return whether the token's client and owner still exist and are enabled."""
    if not token.is_personal and call.runtime.clients.find(token.client_id, call.now) is None:
        return False
    return token.owner is None or call.runtime.owners.find(token.owner) is not None
