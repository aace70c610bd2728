"""Which client is calling, and can it prove it (RFC 6749 §2.3)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote_plus

from valetkey.protocol.errors import InvalidClient, InvalidRequest
from valetkey.protocol.parameters import Parameters
from valetkey.protocol.secret import Secret
from valetkey.runtime import Call
from valetkey.storage.clients import Client


@dataclass(frozen=True, slots=True)
class _Credentials:
    client_id: str
    secret: Secret | None


def authenticate(call: Call) -> Client:
    """The client that made the call; a public one has only named itself.

    :raises InvalidClient: where it is unknown, disabled, or its proof fails.
    :raises InvalidRequest: where it uses two methods at once, or names two clients.
    :raises TooManyRequests: where too many proofs from this network failed.
    """
    credentials = _read_basic(call) or _read_form(call.parameters)
    _check_one_client(credentials, call.parameters)
    client = call.runtime.clients.find(credentials.client_id, call.now)
    problem = "unknown or disabled client" if client is None else _problem(client, credentials.secret, call.now)
    if client is None or problem:
        call.runtime.spend_failed_authentication(call.address, call.now)
        raise InvalidClient("client authentication failed", detail=problem)
    return client


def authenticate_confidential(call: Call) -> Client:
    """Like ``authenticate``, for endpoints that a public client may not use.

    :raises InvalidClient: also for a public client.
    """
    client = authenticate(call)
    if client.is_public:
        raise InvalidClient("this endpoint needs client authentication", detail="public client")
    return client


def _problem(client: Client, secret: Secret | None, now: float) -> str | None:
    if client.is_public:
        return "a secret from a public client" if secret else None
    if secret is None:
        return "no secret"
    for digest, expires_at in client.secret_digests:
        if secret.matches(digest) and (expires_at is None or expires_at > now):
            return None
    return "wrong or expired secret"


def _check_one_client(credentials: _Credentials, parameters: Parameters) -> None:
    if parameters.get("client_id") not in {None, credentials.client_id}:
        raise InvalidRequest("client_id is not the authenticated client")


def _read_form(parameters: Parameters) -> _Credentials:
    client_id = parameters.get("client_id")
    if client_id is None:
        raise InvalidClient("client authentication is required")
    secret = parameters.get("client_secret")
    return _Credentials(client_id, Secret(secret) if secret else None)


def _read_basic(call: Call) -> _Credentials | None:
    """None: no Authorization header. Both halves are form-encoded before base64 (RFC 6749 §2.3.1)."""
    if not call.authorization:
        return None
    scheme, _, value = call.authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("client authentication is malformed", detail="an Authorization scheme other than Basic")
    if call.parameters.get("client_secret") is not None:
        raise InvalidRequest("more than one client authentication method")  # RFC 6749 §2.3
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        client_id, secret = unquote_plus(user, errors="strict"), unquote_plus(password, errors="strict")
    except (binascii.Error, UnicodeDecodeError, ValueError) as cause:
        raise InvalidClient("client authentication is malformed") from cause
    if not colon or not client_id or "\0" in client_id:
        raise InvalidClient("client authentication is malformed")
    return _Credentials(client_id, Secret(secret) if secret else None)
