"""Client authentication by secret, by signed assertion, or by ``client_id`` alone (RFC 6749 §2.3, RFC 7521 §4.2)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from valetkey.endpoint import Call
from valetkey.protocol.errors import InvalidClient, InvalidRequest
from valetkey.protocol.parameters import Parameters, decode_form_text
from valetkey.protocol.secret import Secret
from valetkey.rate_limiting.address import caller_network
from valetkey.storage.clients import Client

from .client_assertion import ASSERTION_TYPE, assertion_problem, read_asserted_client_id


@dataclass(frozen=True, slots=True)
class _Credentials:
    client_id: str
    secret: Secret | None = None
    assertion: str | None = None


def authenticate(call: Call, limit_setting: str = "token_limit") -> Client:
    """Authenticate the client that sent a request by its registered method, count the request, and return the client.

    A public client is identified by its ``client_id`` only.

    :param limit_setting: name of the setting with the rate limit of the endpoint. Requests are counted for each client.
        For a public client they are counted for each client and network, because anyone could use up its limit by
        sending its ``client_id``.
    :raises InvalidClient: if the client is unknown or disabled, or if authentication fails.
    :raises InvalidRequest: if the request uses two methods at once, or names two clients.
    :raises TooManyRequests: if authentication failed too often from this network, or the client exceeds its limit.
    """
    credentials = (
        _read_basic_credentials(call)
        or _read_assertion_credentials(call.parameters)
        or _read_form_credentials(call.parameters)
    )
    call.claimed_client_id = credentials.client_id
    _check_client_id_matches(credentials, call.parameters)
    client = call.runtime.clients.find(credentials.client_id, call.now)
    call.client_id = None if client is None else client.client_id
    problem = (
        "the client is unknown or disabled" if client is None else _authentication_problem(client, credentials, call)
    )
    if client is None or problem:
        call.runtime.limits.charge(
            "client_authentication_limit",
            caller_network(call.address),
            now=call.now,
            description="too many failed client authentications",
        )
        raise InvalidClient("client authentication failed", log_detail=problem)
    caller = (client.client_id, caller_network(call.address)) if client.is_public else (client.client_id,)
    call.runtime.limits.charge(limit_setting, *caller, now=call.now, fails_open=True)
    return client


def authenticate_confidential(call: Call, limit_setting: str = "token_limit") -> Client:
    """Authenticate a client like ``authenticate``, but reject public clients.

    :raises InvalidClient: if authentication fails, or the client is public.
    """
    client = authenticate(call, limit_setting)
    if client.is_public:
        raise InvalidClient("this endpoint needs client authentication", log_detail="the client is public")
    return client


def _authentication_problem(client: Client, credentials: _Credentials, call: Call) -> str | None:
    """Return why the credentials do not authenticate the client by its registered method, or ``None`` if they do."""
    secret, assertion = credentials.secret, credentials.assertion
    if client.is_public:
        return "a public client sent a secret or an assertion" if secret or assertion else None
    if client.auth_method == "private_key_jwt":
        return assertion_problem(assertion, client, call.runtime, call.now) if assertion else "no assertion was sent"
    return _secret_problem(client, secret, call.now) if secret else "no secret was sent"


def _secret_problem(client: Client, secret: Secret, now: float) -> str | None:
    for digest, expires_at in client.secret_digests:
        if secret.matches(digest) and (expires_at is None or expires_at > now):
            return None
    return "the secret is wrong or expired"


def _check_client_id_matches(credentials: _Credentials, parameters: Parameters) -> None:
    if parameters.get("client_id") not in {None, credentials.client_id}:
        raise InvalidRequest("client_id is not the authenticated client")


def _read_assertion_credentials(parameters: Parameters) -> _Credentials | None:
    """Return the credentials of a client assertion in the parameters, or ``None`` if the request has no assertion."""
    kind, assertion = parameters.get("client_assertion_type"), parameters.get("client_assertion")
    if kind is None and assertion is None:
        return None
    if kind != ASSERTION_TYPE or assertion is None:
        raise InvalidClient("client_assertion or a supported client_assertion_type is missing")
    if parameters.get("client_secret") is not None:
        raise InvalidRequest("more than one client authentication method")
    return _Credentials(read_asserted_client_id(assertion), assertion=assertion)


def _read_form_credentials(parameters: Parameters) -> _Credentials:
    client_id = parameters.get("client_id")
    if client_id is None:
        raise InvalidClient("client authentication is required")
    secret = parameters.get("client_secret")
    return _Credentials(client_id, Secret(secret) if secret else None)


def _read_basic_credentials(call: Call) -> _Credentials | None:
    """Return the credentials in the Authorization header, or ``None`` if the request has no such header.

    The client_id and the secret are form-encoded before base64 (RFC 6749 §2.3.1).
    """
    if not call.authorization:
        return None
    scheme, _, value = call.authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("client authentication is malformed", log_detail="the Authorization scheme is not Basic")
    if call.parameters.get("client_secret") is not None or call.parameters.get("client_assertion") is not None:
        raise InvalidRequest("more than one client authentication method")  # RFC 6749 §2.3
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        client_id, secret = decode_form_text(user), decode_form_text(password)
    except (binascii.Error, UnicodeDecodeError, ValueError) as cause:
        raise InvalidClient("client authentication is malformed") from cause
    if not colon or not client_id or "\0" in client_id:
        raise InvalidClient("client authentication is malformed")
    return _Credentials(client_id, Secret(secret) if secret else None)
