"""The userinfo endpoint (OpenID Connect Core §5.3): GET, POST with a header, POST with a form."""

from __future__ import annotations

import json
from typing import Any

from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.claims import claims_of_scope
from valetkey.protocol.errors import InsufficientScope, InvalidRequest, InvalidToken
from valetkey.runtime import Answer, Call, Runtime, json_answer
from valetkey.storage import grants
from valetkey.storage.grants import Grant
from valetkey.tokens.access_token import AccessToken

from .subject import subject


def userinfo(call: Call) -> Answer:
    """The claims that the access token opens, as JSON, or signed where the client registered so."""
    runtime = call.runtime
    token = runtime.judge.judge(_read_token(call), call.now)
    grant = _check_token(token, runtime)
    client = runtime.clients.find(token.client_id, call.now)
    if client is None or runtime.owners.find(grant.owner) is None:
        raise InvalidToken("the access token was revoked", detail="client or resource owner is gone or disabled")
    claims = {**_claims(token, grant, runtime), "sub": subject(grant.owner, client, runtime)}
    algorithm = client.metadata.get("userinfo_signed_response_alg")
    if algorithm is None:
        return json_answer(claims)
    claims |= {"iss": runtime.settings.issuer, "aud": client.client_id}
    signed = runtime.mint.sign(claims, algorithm, "JWT", call.now)
    return Answer(200, signed.encode(), (("Content-Type", "application/jwt"), ("Cache-Control", "no-store")))


def _read_token(call: Call) -> str:
    in_header = bearer.read_token(call.authorization)
    in_body = call.parameters.get("access_token")
    if in_header and in_body:
        raise InvalidRequest("the access token was sent in two ways")  # RFC 6750 §3.1
    found = in_header or in_body
    if found is None:
        raise MissingToken("an access token is required")
    return found


def _check_token(token: AccessToken, runtime: Runtime) -> Grant:
    if runtime.settings.issuer not in token.audience:
        raise InvalidToken("the access token is for another resource")
    if "openid" not in token.scopes:
        raise InsufficientScope("the access token lacks the scope openid", challenge={"scope": "openid"})
    grant = grants.find(runtime.store, token.grant_id) if token.grant_id else None
    if grant is None:
        raise InvalidToken("the access token is no person's")
    return grant


def _claims(token: AccessToken, grant: Grant, runtime: Runtime) -> dict[str, Any]:
    wished = set(json.loads(grant.claims).get("userinfo", {})) if grant.claims else set()
    scope = frozenset({"profile", "email", "address", "phone"}) if wished else token.scopes
    known = runtime.owners.claims(grant.owner, scope)
    wanted = claims_of_scope(token.scopes) | wished
    return {name: value for name, value in known.items() if name in wanted}
