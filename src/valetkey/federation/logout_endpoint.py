"""Back-channel logout by a provider: its logout token ends the sessions that began with it (Back-Channel Logout §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import logout_statements
from valetkey.endpoint import Call, Endpoint, MachineResponse, json_response
from valetkey.outbound.errors import FetchError
from valetkey.protocol.errors import InvalidRequest, TemporarilyUnavailable
from valetkey.runtime import Runtime
from valetkey.settings.providers import SignInProvider
from valetkey.storage import sessions
from valetkey.storage.engine.statement import BoundStatement

from .endpoints import find_endpoints
from .errors import ProviderRefused
from .id_token import verify_signature
from .identity import is_short_text

_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_TYPES = ("logout+jwt", "jwt")


def make_logout_endpoint(path: str) -> Endpoint:
    """Return the endpoint that receives the logout tokens of providers; ``provider_id`` is a part of its path."""
    return Endpoint("provider-logout", path, ("POST",), _handle_logout_token)


def _handle_logout_token(call: Call) -> MachineResponse:
    """End the sessions that a logout token names, and what hangs on them, as every sign-out does.

    :raises InvalidRequest: if the token is not a logout token of the provider for this site (§2.6).
    """
    provider_id = call.path_parameters["provider_id"]
    providers = [item for item in call.runtime.settings.sign_in_with if item.provider_id == provider_id]
    if not providers:
        raise InvalidRequest("there is no such provider")
    claims = _verify_logout_token(call.parameters.require("logout_token"), providers[0], call.runtime, call.now)
    _end_sessions(claims, providers[0], call)
    return json_response({})


def _verify_logout_token(value: str, provider: SignInProvider, runtime: Runtime, now: float) -> Mapping[str, Any]:
    try:
        endpoints = find_endpoints(provider, runtime.provider_metadata)
        header, claims = verify_signature(value, provider, endpoints, runtime)
    except ProviderRefused as refusal:
        raise InvalidRequest("the logout token cannot be verified", log_detail=refusal.log_detail) from refusal
    except FetchError as cause:
        raise TemporarilyUnavailable("the keys of the provider cannot be read", log_detail=str(cause)) from cause
    registry = JWTClaimsRegistry(
        int(now),
        runtime.settings.clock_leeway,
        iss={"essential": True, "values": list(provider.token_issuers)},
        aud={"essential": True, "value": provider.client_id},
        iat={"essential": True},
        exp={"essential": True},
        jti={"essential": True},
    )
    try:
        registry.validate(dict(claims))
    except (JoseError, ValueError, TypeError) as cause:
        raise InvalidRequest("a claim of the logout token is wrong", log_detail=str(cause)) from cause
    typ, events = header.get("typ", "jwt"), claims.get("events")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in _TYPES:
        raise InvalidRequest("the typ is not that of a logout token")
    if not isinstance(events, dict) or not isinstance(events.get(_LOGOUT_EVENT), dict) or "nonce" in claims:
        raise InvalidRequest("it is not a logout token")
    names = [claims[name] for name in ("sub", "sid") if name in claims]
    if not names or not all(map(is_short_text, names)):
        raise InvalidRequest("the logout token has neither sub nor sid, or they cannot be those of a session")
    return claims


def _end_sessions(claims: Mapping[str, Any], provider: SignInProvider, call: Call) -> None:
    """End the sessions that a logout token names, except those that began after it was issued."""
    runtime, now = call.runtime, call.now
    issued_at = claims["iat"] + runtime.settings.clock_leeway
    rows: list[BoundStatement] = []
    for session in sessions.list_active_at_provider(
        runtime.store, provider.issuer, claims.get("sub"), claims.get("sid"), now
    ):
        if session.began_at <= issued_at:
            rows.append(sessions.end(session.digest, now))
            rows.append(audit_statement("session.ended", now, owner=session.sub, detail=provider.provider_id))
            rows += logout_statements(session.sub, session.sid, runtime, now, call.address)
    if rows:
        runtime.store.write_all(*rows)
