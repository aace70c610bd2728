"""Logout requests: a client asks this server to sign the user out (OpenID Connect RP-Initiated Logout §2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from valetkey.authorization_server import texts
from valetkey.caches.clients import ClientCache
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.parameters import Parameters, reject_repeated
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client
from valetkey.tokens.encryption import Cipher
from valetkey.tokens.key_ring import KeyRing

from .encrypted_hint import decrypt_hint
from .id_token import verify_id_token
from .subject import session_id_for_client, subject_for_client

# Parameters that the form of the confirmation page repeats.
CARRIED_PARAMETERS = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")
_MAX_STATE_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """A checked logout request. Only ``check_logout_request`` creates one.

    :param client: the client that sent the request; ``None`` if neither ``client_id`` nor ``id_token_hint`` names one.
    :param location: where to redirect after logout: one of the client's registered ``post_logout_redirect_uris`` with
        the ``state`` added; ``None`` if the request has no ``post_logout_redirect_uri``.
    :param sub: the ``sub`` of the ``id_token_hint``, which may be pairwise; ``None`` if there is no hint.
    :param sid: the session id (``sid``) of the ``id_token_hint``; ``None`` if there is no hint, or it has no ``sid``.
    :param parameters: the parameters of the request; an encrypted ``id_token_hint`` is decrypted.
    """

    client: Client | None
    location: str | None
    sub: str | None
    sid: str | None
    parameters: Parameters

    def matches_session(self, owner: Owner, keys: KeyRing, now: float) -> bool:
        """Return whether the ``id_token_hint`` names the owner's current session.

        If it does, the user need not confirm the logout.
        """
        if self.client is None or self.sub is None or self.sid is None or owner.sid is None:
            return False
        return (self.sub, self.sid) == (
            subject_for_client(owner.sub, self.client, keys, now),
            session_id_for_client(owner.sid, self.client, keys, now),
        )


def check_logout_request(pairs: Iterable[tuple[str, str]], runtime: Runtime, now: float) -> LogoutRequest:
    """Check the parameters of a logout request, and return the request.

    :param pairs: names and values of the request's parameters.
    :raises InvalidRequest: if a check fails. Its description is shown to the user on a page, since nothing may be
        redirected to a URI that is not registered.
    """
    parameters = _decrypt_hint(reject_repeated(pairs), runtime.cipher, now)
    hint = _read_hint(parameters, runtime, now)
    client = _find_client(parameters, hint, runtime.clients, now)
    location = _read_location(parameters, client)
    sub, sid = hint.get("sub"), hint.get("sid")
    return LogoutRequest(client, location, str(sub) if sub else None, str(sid) if sid else None, parameters)


def _decrypt_hint(parameters: Parameters, cipher: Cipher, now: float) -> Parameters:
    hint = parameters.get("id_token_hint")
    if hint is None:
        return parameters
    return replace(parameters, values={**parameters.values, "id_token_hint": decrypt_hint(hint, cipher, now) or ""})


def _read_hint(parameters: Parameters, runtime: Runtime, now: float) -> dict[str, Any]:
    id_token = parameters.get("id_token_hint")
    if id_token is None:
        return {}
    claims = verify_id_token(id_token, runtime, now)  # an expired one is accepted (§2)
    if claims is None:
        raise InvalidRequest(texts.FOREIGN_ID_TOKEN)
    return claims


def _find_client(parameters: Parameters, hint: dict[str, Any], client_cache: ClientCache, now: float) -> Client | None:
    from_parameter, from_hint = parameters.get("client_id"), hint.get("aud")
    if from_parameter and from_hint and from_parameter != from_hint:  # §2: they must match
        raise InvalidRequest(texts.ID_TOKEN_OF_OTHER_APP)
    client_id = from_parameter or from_hint
    if client_id is None:
        return None
    client = client_cache.find(str(client_id), now)
    if client is None:
        raise InvalidRequest(texts.UNKNOWN_APP, log_detail="unknown client_id")
    return client


def _read_location(parameters: Parameters, client: Client | None) -> str | None:
    uri, state = parameters.get("post_logout_redirect_uri"), parameters.get("state")
    if state is not None and len(state) > _MAX_STATE_LENGTH:
        raise InvalidRequest(f"state is longer than {_MAX_STATE_LENGTH} characters")
    if uri is None:
        return None
    if client is None:
        raise InvalidRequest(texts.MISSING_ID_TOKEN)
    if uri not in client.metadata.get("post_logout_redirect_uris", ()):  # §3: exact match
        raise InvalidRequest(texts.UNKNOWN_LOGOUT_URI)
    return AuthorizationResponse(uri, "query", {"state": state}).location() if state else uri
