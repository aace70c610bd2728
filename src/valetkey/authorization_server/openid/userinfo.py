"""The userinfo endpoint (OpenID Connect Core §5.3): return the user's claims to a client with an access token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.caches.requested_claims import RequestedClaimsCache
from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.protocol import bearer
from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.claims import SCOPE_CLAIMS, STANDARD_CLAIMS
from valetkey.protocol.errors import InsufficientScope, InvalidRequest, InvalidToken
from valetkey.runtime import Runtime

from .subject import subject_for_client


def userinfo(call: Call) -> MachineResponse:
    """Return the user's claims that the access token of the request grants, as JSON.

    If the client registered ``userinfo_signed_response_alg``, the claims are returned as a signed JWT.
    """
    runtime = call.runtime
    token = call.verify_token(_read_token(call))
    runtime.limits.charge("userinfo_limit", token.client_id, token.user_id or "", now=call.now, fails_open=True)
    owner, requested_claims = _check_token(token, runtime, call.now)
    client = runtime.clients.find(token.client_id, call.now)
    if client is None:
        raise InvalidToken("the access token was revoked", log_detail="the client was removed or disabled")
    claims = {
        **_select_claims(token, owner, requested_claims, call),
        "sub": subject_for_client(owner, client, runtime.keys, call.now),
    }
    algorithm = client.metadata.get("userinfo_signed_response_alg")
    if algorithm is None:
        return json_response(claims)
    claims |= {"iss": runtime.settings.issuer, "aud": client.client_id}
    signed = runtime.token_generator.sign_jwt(claims, algorithm, "JWT", call.now)
    return MachineResponse(200, signed.encode(), (("Content-Type", "application/jwt"), ("Cache-Control", "no-store")))


def _read_token(call: Call) -> str:
    in_header = bearer.parse_bearer_token(call.authorization)
    in_body = call.parameters.get("access_token")
    if in_header and in_body:
        raise InvalidRequest("the access token was sent in two ways")  # RFC 6750 §3.1
    value = in_header or in_body
    if value is None:
        raise MissingToken("an access token is required")
    return value


def _check_token(token: AccessToken, runtime: Runtime, now: float) -> tuple[str, frozenset[str]]:
    """Check an access token, and return its owner's ``sub`` and the names of the individually requested claims.

    A client requests claims individually with the ``claims`` parameter (OpenID Connect Core §5.5).

    :raises InvalidToken: if the token is for another resource, or has no resource owner.
    :raises InsufficientScope: if the token lacks the scope ``openid``.
    """
    if runtime.settings.issuer not in token.audience:
        raise InvalidToken("the access token is for another resource")
    if "openid" not in token.scopes:
        raise InsufficientScope("the access token lacks the scope openid", challenge_parameters={"scope": "openid"})
    if token.user_id is None or token.grant_id is None:
        raise InvalidToken("the access token does not belong to a user")
    return token.user_id, _requested_claims(token.grant_id, runtime.requested_claims, now)


def _requested_claims(grant_id: str, requested_claims: RequestedClaimsCache, now: float) -> frozenset[str]:
    """Return the names of the userinfo claims that were requested individually (``claims`` parameter) for a grant.

    The result is cached; the change feed says when claims were withdrawn from a grant.

    :raises InvalidToken: if the grant no longer exists.
    """
    requested = requested_claims.find(grant_id, now)
    if requested is None:
        raise InvalidToken("the access token does not belong to a user", log_detail="its grant no longer exists")
    return requested


def _select_claims(token: AccessToken, owner: str, requested_claims: frozenset[str], call: Call) -> dict[str, Any]:
    owner_claims = _cached_owner_claims(
        owner, token.scopes.union(SCOPE_CLAIMS) if requested_claims else token.scopes, call
    )
    granted = call.runtime.settings.claims_of(token.scopes) | requested_claims & STANDARD_CLAIMS.keys()
    return {name: value for name, value in owner_claims.items() if name in granted}


def _cached_owner_claims(owner: str, scope: frozenset[str], call: Call) -> Mapping[str, Any]:
    """Return the owner's claims for a scope; they are cached for half a second.

    :raises InvalidToken: if the owner does not exist or is disabled.
    """
    claims = call.runtime.owner_claims.find(owner, scope, call.now)
    if claims is None:
        raise InvalidToken("the access token was revoked", log_detail="the resource owner was removed or disabled")
    return claims
