"""Checks of an authorization request (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.2), in two stages.

First the client and the redirect URI are checked; if that fails, the error is shown to the user on a page and never
redirected (RFC 6749 §4.1.2.1). Then the other parameters are checked; their errors are redirected to the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from valetkey.authorization_server import texts
from valetkey.authorization_server.openid.id_token import read_hint, requires_auth_time
from valetkey.authorization_server.token.scope_and_resource import resolve_request
from valetkey.caches.clients import ClientCache
from valetkey.protocol import pkce
from valetkey.protocol.claims import ClaimsRequest, parse_claims_parameter, requested_values
from valetkey.protocol.client_identity import covers_identity
from valetkey.protocol.errors import (
    InvalidRequest,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestUriNotSupported,
    UnauthorizedClient,
    UnsupportedResponseType,
)
from valetkey.protocol.parameters import Parameters, reject_repeated
from valetkey.protocol.redirect_uri import redirect_uri_matches
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client

from .request import AuthorizationRequest, CheckedTarget

RESPONSE_MODES = ("query", "form_post")
PROMPTS = ("none", "login", "consent", "select_account")
_MAX_LENGTHS = {"state": 8192, "nonce": 1024, "login_hint": 254, "ui_locales": 200, "acr_values": 500}
_LARGEST_MAX_AGE_S = 999_999_999
_MAX_LOGGED_LENGTH = 200  # characters of a rejected value that are logged
Pairs = Sequence[tuple[str, str]]


def check_target(pairs: Pairs, runtime: Runtime, now: float) -> CheckedTarget:
    """Return the client and the redirect URI of an authorization request, after checking that both are registered.

    :param pairs: names and values of the request's parameters; a name may occur several times.
    :raises InvalidRequest: if the client or the redirect URI is missing or not registered. The error message is for
        the user, because there is no URI to redirect it to.
    """
    client = _find_client(_single_value(pairs, "client_id"), runtime.clients, now)
    sent = _single_value(pairs, "redirect_uri")
    if sent is None and _is_redirect_uri_required(pairs):
        raise InvalidRequest(texts.MISSING_REDIRECT_URI)  # Core §3.1.2.1
    redirect_uri = _check_redirect_uri(sent, client)
    states = [value for name, value in pairs if name == "state" and value]
    state = states[0] if len(states) == 1 else None
    mode = "form_post" if ("response_mode", "form_post") in pairs else "query"
    return CheckedTarget(client, redirect_uri, sent is not None, state, mode, runtime.settings.issuer)


def check_request(pairs: Pairs, target: CheckedTarget, runtime: Runtime, now: float) -> AuthorizationRequest:
    """Check all parameters of an authorization request except ``client_id`` and ``redirect_uri``, and return it.

    :param pairs: names and values of the request's parameters; a name may occur several times.
    :param target: the client and the redirect URI, which ``check_target`` checked before.
    :raises OAuthError: if a parameter is invalid; the caller redirects this error to the client.
    """
    parameters = reject_repeated(pairs)
    _check_unsupported_parameters(parameters)
    _check_response_type(parameters, target.client)
    _check_response_mode(parameters)
    _check_lengths(parameters)
    challenge = pkce.parse_code_challenge(parameters, required=target.client.policy.pkce_required)
    access = resolve_request(parameters, target.client, runtime, now)
    claims = parse_claims_parameter(parameters.get("claims"))
    return AuthorizationRequest(
        client_id=target.client.client_id,
        redirect_uri=target.redirect_uri,
        redirect_uri_sent=target.redirect_uri_sent,
        state=target.state,
        mode=target.mode,
        scope=tuple(sorted(access.scope)),
        resources=access.audience,
        code_challenge=challenge,
        begun_at=now,
        client_identity=target.client.identity,
        nonce=parameters.get("nonce"),
        prompt=_read_prompt(parameters),
        max_age=_read_max_age(parameters, target.client, access.scope, claims),
        acr_values=_read_acr_values(parameters, target.client, claims),
        login_hint=parameters.get("login_hint"),
        hinted_subs=_read_hinted_subs(claims, read_hint(parameters.get("id_token_hint"), target.client, runtime, now)),
        claims={place: dict(requests) for place, requests in claims.items()},
    )


def recheck_target(request: AuthorizationRequest, runtime: Runtime, now: float) -> CheckedTarget:
    """Check the client and the redirect URI of a stored request again, and return them.

    :raises InvalidRequest: if the client was removed or disabled meanwhile, no longer has this redirect URI, or has
        another identity: a consent is to the identity that was shown.
    """
    client = _find_client(request.client_id, runtime.clients, now)
    check_identity_unchanged(request.client_identity, client)
    redirect_uri = _check_redirect_uri(request.redirect_uri, client)
    issuer = runtime.settings.issuer
    return CheckedTarget(client, redirect_uri, request.redirect_uri_sent, request.state, request.mode, issuer)


def check_identity_unchanged(identity: str, client: Client) -> None:
    """Check that a client still has the identity that a stored request has recorded.

    :raises InvalidRequest: if it does not. The error message is for the user.
    """
    if not covers_identity(identity, client.identity):
        raise InvalidRequest(texts.REGISTRATION_CHANGED)


def _find_client(client_id: str | None, client_cache: ClientCache, now: float) -> Client:
    if client_id is None:
        raise InvalidRequest(texts.MISSING_CLIENT_ID)
    client = client_cache.find(client_id, now)
    if client is None:
        detail = f"unknown client_id {client_id[:_MAX_LOGGED_LENGTH]!r}"
        raise InvalidRequest(texts.UNKNOWN_APP, log_detail=detail)
    return client


def _is_redirect_uri_required(pairs: Pairs) -> bool:
    """Return whether ``redirect_uri`` is required.

    OpenID Connect requires it, unless a request object may contain it (OpenID Connect Core §6.1).
    """
    is_openid = any(name == "scope" and "openid" in value.split() for name, value in pairs)
    return is_openid and not any(name in {"request", "request_uri"} for name, _ in pairs)


def _check_redirect_uri(sent: str | None, client: Client) -> str:
    if sent is None:
        if len(client.redirect_uris) != 1:  # RFC 6749 §3.1.2.3
            raise InvalidRequest(texts.MISSING_REDIRECT_URI)
        return client.redirect_uris[0]
    if not redirect_uri_matches(sent, client.redirect_uris, native=client.policy.native):  # RFC 9700 §2.1
        detail = f"{client.client_id} sent {sent[:_MAX_LOGGED_LENGTH]!r}"
        raise InvalidRequest(texts.UNKNOWN_REDIRECT_URI, log_detail=detail)
    return sent


def _check_unsupported_parameters(parameters: Parameters) -> None:
    """Reject ``request``, ``request_uri`` and ``registration``, each with its error (OpenID Core §6, §7.2.1)."""
    if parameters.get("request") is not None:
        raise RequestNotSupported("the request parameter is not supported")
    if parameters.get("request_uri") is not None:
        raise RequestUriNotSupported("the request_uri parameter is not supported")
    if parameters.get("registration") is not None:
        raise RegistrationNotSupported("the registration parameter is not supported")


def _check_response_type(parameters: Parameters, client: Client) -> None:
    if parameters.require("response_type") != "code":
        raise UnsupportedResponseType("response_type must be code")
    if "authorization_code" not in client.grant_types:
        raise UnauthorizedClient("the client may not use the authorization code grant")


def _check_response_mode(parameters: Parameters) -> None:
    if parameters.get("response_mode") not in {None, *RESPONSE_MODES}:
        raise InvalidRequest("response_mode must be query or form_post")


def _check_lengths(parameters: Parameters) -> None:
    for name, max_length in _MAX_LENGTHS.items():
        if len(parameters.get(name) or "") > max_length:
            raise InvalidRequest(f"{name} is longer than {max_length} characters")


def _read_prompt(parameters: Parameters) -> tuple[str, ...]:
    prompt = tuple((parameters.get("prompt") or "").split())
    if not set(prompt) <= set(PROMPTS):
        raise InvalidRequest("prompt has an unknown value")
    if "none" in prompt and len(prompt) > 1:
        raise InvalidRequest("prompt=none cannot be combined with other values")  # OpenID Connect Core §3.1.2.1
    return prompt


def _read_max_age(parameters: Parameters, client: Client, scope: frozenset[str], claims: ClaimsRequest) -> int | None:
    """Return the largest number of seconds since the user's sign-in, or ``None`` if the client does not limit it.

    If the client requires ``auth_time`` in the ID token, the number is so large that only a sign-in at an unknown time
    is too old.
    """
    sent = parameters.get("max_age")
    if sent is None:
        if (default := client.metadata.get("default_max_age")) is not None:
            return int(default)
        is_essential = "openid" in scope and claims.get("id_token", {}).get("auth_time", {}).get("essential")
        return _LARGEST_MAX_AGE_S if is_essential or requires_auth_time(client, scope) else None
    digits = sent.lstrip("0")  # Python converts no text of more than 4300 digits
    if not sent.isascii() or not sent.isdecimal() or len(digits) > len(str(_LARGEST_MAX_AGE_S)):
        raise InvalidRequest("max_age must be a number of seconds")
    return int(digits or 0)


def _read_acr_values(parameters: Parameters, client: Client, claims: ClaimsRequest) -> tuple[str, ...]:
    """Return the ``acr`` values that the client prefers or requires, in this order; empty if any will do.

    An individual request in ``claims`` overrides the client's default values (OpenID Connect Registration §2) and, if
    it is essential, also the parameter ``acr_values``. Values that the parameter cannot contain are left out.
    """
    requested = claims.get("id_token", {}).get("acr", {})
    individual = _keep_usable_acr_values(requested_values(requested))
    sent = _keep_usable_acr_values((parameters.get("acr_values") or "").split())
    default = _keep_usable_acr_values(client.metadata.get("default_acr_values", ()))
    return (individual if requested.get("essential") else ()) or sent or individual or default


def _keep_usable_acr_values(values: Iterable[Any]) -> tuple[str, ...]:
    """Return the values that are printable texts without spaces, as many as fit into the parameter ``acr_values``."""
    usable: list[str] = []
    for value in values:
        is_usable = isinstance(value, str) and value.isprintable() and value and " " not in value
        if is_usable and len(" ".join([*usable, value])) <= _MAX_LENGTHS["acr_values"]:
            usable.append(value)
    return tuple(usable)


def _read_hinted_subs(claims: ClaimsRequest, hint: str | None) -> tuple[str, ...]:
    """Return the ``sub`` values of the resource owners that the client expects (OpenID Connect Core §3.1.2.2).

    They come from the ``claims`` parameter or the ``id_token_hint``. An empty tuple means that any owner may sign in.

    :param hint: the ``sub`` of the ``id_token_hint``, or ``None`` if the request has none.
    :raises InvalidRequest: if ``id_token_hint`` and ``claims`` name different owners.
    """
    requested_subs = tuple(str(sub) for sub in requested_values(claims.get("id_token", {}).get("sub", {})))
    if hint is None:
        return requested_subs
    if requested_subs and hint not in requested_subs:
        raise InvalidRequest("id_token_hint and claims contain different users")
    return (hint,)


def _single_value(pairs: Pairs, name: str) -> str | None:
    values = [value for key, value in pairs if key == name and value]
    if len(values) > 1:
        raise InvalidRequest(texts.REPEATED_PARAMETER.format(name=name))
    return values[0] if values else None
