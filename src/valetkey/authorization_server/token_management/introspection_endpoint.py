"""Token introspection (RFC 7662)."""

from __future__ import annotations

from valetkey.authorization_server.openid.subject import is_pairwise, subject
from valetkey.authorization_server.token.client_authentication import authenticate_confidential
from valetkey.endpoint import Answer, Call, json_answer
from valetkey.storage.clients import Client

from .lookup import KnownToken, find_token

_INACTIVE = {"active": False}


def introspect(call: Call) -> Answer:
    """The token's members for whoever may know them, else only that it is not active (§2.2)."""
    client = authenticate_confidential(call, "introspection_limit")
    token = find_token(call.runtime, call.parameters.required("token"), call.now)
    if token is None or not _may_know(client, token) or not _is_alive(token, call):
        return json_answer(_INACTIVE)
    if token.owner is not None and is_pairwise(client) and token.client_id == client.client_id:
        return json_answer({**token.members, "sub": subject(token.owner, client, call.runtime)})
    return json_answer(token.members)


def _may_know(client: Client, token: KnownToken) -> bool:
    # A web application learns of its own tokens; a service (policy machine) is what answers API calls, so it
    # learns of every access token that somebody brought to it (§4: only protected resources may ask). Refresh
    # tokens, which have no jti, are brought to no API (RFC 6749 §1.5).
    is_own = token.client_id == client.client_id
    return is_own or (client.policy.name == "machine" and token.jti is not None)


def _is_alive(token: KnownToken, call: Call) -> bool:
    """A disabled account or client is out here too."""
    if not token.personal and call.runtime.clients.find(token.client_id, call.now) is None:
        return False
    return token.owner is None or call.runtime.owners.find(token.owner) is not None
