"""A client's wish that its person be signed out here too (OpenID Connect RP-Initiated Logout §2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.parameters import Parameters, reject_repeated
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client

from .encrypted_hint import decrypt_hint
from .id_token import verify_id_token
from .subject import subject_for_client

CARRIED_PARAMETERS = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")  # by the confirmation's form
_MAX_STATE_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """What was asked, checked. Only ``check_logout_request`` makes one."""

    client: Client | None
    location: str | None  # one of the client's own post_logout_redirect_uris, with the state
    sub: str | None  # whom the hint names, as the client knows them
    sid: str | None
    parameters: Parameters

    def matches_session(self, owner: Owner, runtime: Runtime) -> bool:
        """Whether the hint names this very sign-in: then there is nothing to confirm."""
        if self.client is None or self.sub is None or self.sid is None or owner.sid is None:
            return False
        return (self.sub, self.sid) == (subject_for_client(owner.sub, self.client, runtime), owner.sid)


def check_logout_request(pairs: Iterable[tuple[str, str]], runtime: Runtime, now: float) -> LogoutRequest:
    """:raises InvalidRequest: for the person to read; nothing is redirected to that was not registered."""
    parameters = reject_repeated(pairs)
    hint = _read_hint(parameters, runtime, now)
    client = _find_client(parameters, hint, runtime, now)
    location = _read_location(parameters, client)
    sub, sid = hint.get("sub"), hint.get("sid")
    return LogoutRequest(client, location, str(sub) if sub else None, str(sid) if sid else None, parameters)


def _read_hint(parameters: Parameters, runtime: Runtime, now: float) -> dict[str, Any]:
    hint = parameters.get("id_token_hint")
    if hint is None:
        return {}
    opened = decrypt_hint(hint, runtime, now)
    claims = verify_id_token(opened, runtime, now) if opened else None  # expired ones count (§2)
    if claims is None:
        raise InvalidRequest("The app sent a sign-in that this site did not issue (id_token_hint).")
    return claims


def _find_client(parameters: Parameters, hint: dict[str, Any], runtime: Runtime, now: float) -> Client | None:
    named, of_hint = parameters.get("client_id"), hint.get("aud")
    if named and of_hint and named != of_hint:  # §2: they must match
        raise InvalidRequest("The app sent another app's sign-in (client_id and id_token_hint do not match).")
    client_id = named or of_hint
    if client_id is None:
        return None
    client = runtime.clients.find(str(client_id), now)
    if client is None:
        raise InvalidRequest("This app is not known here, or was put out of service.", log_detail="unknown client_id")
    return client


def _read_location(parameters: Parameters, client: Client | None) -> str | None:
    uri, state = parameters.get("post_logout_redirect_uri"), parameters.get("state")
    if state is not None and len(state) > _MAX_STATE_LENGTH:
        raise InvalidRequest(f"state is longer than {_MAX_STATE_LENGTH} characters")
    if uri is None:
        return None
    if client is None:
        raise InvalidRequest("The app did not say which app it is (id_token_hint or client_id is missing).")
    if uri not in client.metadata.get("post_logout_redirect_uris", ()):  # §3: exact match
        raise InvalidRequest("The app asked to go on to an address that it did not register.")
    return AuthorizationResponse(uri, "query", {"state": state}).location() if state else uri
