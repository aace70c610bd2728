"""Checks the response of a provider, redeems its code, and returns who the user is (OpenID Connect Core §3.1.2.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from valetkey.accounts.login_context import LoginContext
from valetkey.outbound.errors import FetchError, TooManyFetches
from valetkey.protocol.printable import escape_unprintable
from valetkey.protocol.secret import PROVIDER_STATE, Secret, is_well_formed
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.settings.provider_presets import Apple, GitHub
from valetkey.settings.providers import SignInProvider
from valetkey.storage import provider_links, provider_requests
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_requests import ProviderRequest

from . import texts
from .apple import name_in_response
from .authorization_request import code_verifier, nonce, unreachable
from .client import make_client
from .endpoints import ProviderEndpoints, find_endpoints
from .errors import AlreadyAnswered, ProviderRefused
from .github import add_primary_email, fetch_identity
from .id_token import untrusted_response, verify_id_token
from .identity import ProviderIdentity, identity_of_claims

_PARAMETERS = ("code", "state", "iss", "error", "error_description", "user")


@dataclass(frozen=True, slots=True)
class VerifiedSignIn:
    """A sign-in at a provider whose response was checked.

    :param request: the authorization request that the provider responded to.
    :param identity: the user at the provider; its ``auth_time`` is not in the future.
    :param tokens: the response of the token endpoint (RFC 6749 §5.1).
    """

    request: ProviderRequest
    identity: ProviderIdentity
    tokens: Mapping[str, Any]


def response_pairs(parameters: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return names and values of the parameters of a provider's response that are read.

    Of a parameter that is sent more than once, the first two values are returned, so that ``read_response`` refuses it.

    :param parameters: the values by name.
    """
    return [(name, value) for name in _PARAMETERS for value in parameters.get(name, ())[:2]]


def read_response(parameters: Mapping[str, Sequence[str]], provider: SignInProvider) -> Mapping[str, str]:
    """Return the parameters of a provider's response that are read.

    :param parameters: the values by name.
    :raises ProviderRefused: if one of them is sent more than once (RFC 6749 §3.1).
    """
    pairs = response_pairs(parameters)
    response = dict(pairs)
    if len(response) < len(pairs):
        raise untrusted_response(provider, "a parameter of the response was sent more than once")
    return response


def accept_request(
    parameters: Mapping[str, str], provider: SignInProvider, login_context: LoginContext, store: Store, now: float
) -> ProviderRequest:
    """Return the authorization request that a response belongs to, and mark it as answered.

    :param parameters: the parameters of the response.
    :raises AlreadyAnswered: if the sign-in was answered before.
    :raises ProviderRefused: if ``state`` is not that of a sign-in which this browser began with this provider, or is
        too old.
    """
    state = parameters.get("state", "")
    request = provider_requests.find(store, Secret(state).digest()) if is_well_formed(state, PROVIDER_STATE) else None
    if request is None:
        raise ProviderRefused(texts.ANOTHER_BROWSER_OR_EXPIRED, log_detail="the state is unknown")
    if request.provider_id != provider.provider_id:
        raise untrusted_response(provider, f"the state is that of a sign-in with {request.provider_id}")
    if request.browser != login_context.browser.digest():
        raise ProviderRefused(texts.ANOTHER_BROWSER, log_detail="the state belongs to another browser")
    if not store.write(Transaction(provider_requests.mark_used(request.digest, now))):
        if request.expires_at <= now:
            raise ProviderRefused(texts.EXPIRED, log_detail="the state has expired")
        raise AlreadyAnswered(request, provider)
    return request


def complete_sign_in(
    request: ProviderRequest,
    parameters: Mapping[str, str],
    provider: SignInProvider,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
) -> VerifiedSignIn:
    """Check a provider's response, redeem its code, and return the user with the provider's tokens.

    :param request: what ``accept_request`` returned for these parameters.
    :param parameters: the parameters of the response.
    :raises ProviderRefused: if the provider cannot be reached, reports an error, or sends what cannot be trusted.
    """
    try:
        endpoints = find_endpoints(provider, runtime.provider_metadata)
        _check_issuer(parameters, provider, endpoints)
        code = _check_code(parameters, provider)
        state = Secret(parameters["state"])
        with runtime.fetch_slots.providers(endpoints.token):
            verifier = code_verifier(state, login_context.browser)
            tokens = _redeem_code(code, verifier, provider, endpoints, runtime, now)
        expected_nonce = nonce(state, login_context.browser)
        identity = _identify(tokens, request, expected_nonce, provider, endpoints, runtime, now)
    except (FetchError, TooManyFetches) as cause:
        raise unreachable(provider, cause) from cause
    if isinstance(provider, Apple):
        identity = replace(identity, name=name_in_response(parameters.get("user")))
    auth_time = _check_auth_time(identity, request, provider, runtime.settings, now)
    return VerifiedSignIn(request, replace(identity, auth_time=auth_time), tokens)


def _check_issuer(parameters: Mapping[str, str], provider: SignInProvider, endpoints: ProviderEndpoints) -> None:
    """Check the parameter ``iss`` of the response, against mix-up of providers (RFC 9207 §2.4)."""
    issuer = parameters.get("iss")
    if issuer != provider.response_issuer and (issuer is not None or endpoints.sends_iss):
        raise untrusted_response(provider, "the iss of the response is not the provider's")


def _check_code(parameters: Mapping[str, str], provider: SignInProvider) -> str:
    error, code = parameters.get("error"), parameters.get("code")
    if error is not None:
        sentence = texts.ERRORS.get(error, texts.NOT_SIGNED_IN).format(provider=provider.name)
        detail = f"error {error}: {parameters.get('error_description', '')}"
        raise ProviderRefused(sentence, log_detail=escape_unprintable(detail))
    if not code:
        raise untrusted_response(provider, "the response has no code")
    return code


def _redeem_code(
    code: str, verifier: str, provider: SignInProvider, endpoints: ProviderEndpoints, runtime: Runtime, now: float
) -> Mapping[str, Any]:
    """Redeem an authorization code at the provider's token endpoint, and return the response, with an access token.

    :raises FetchError: if there is no response of a token endpoint.
    """
    from authlib.oauth2 import OAuth2Error

    client = make_client(provider, endpoints, runtime, now)
    try:
        tokens = client.fetch_token(grant_type="authorization_code", code=code, code_verifier=verifier)
    except (OAuth2Error, ValueError, TypeError) as cause:
        detail = f"the token endpoint: {escape_unprintable(str(cause))}"
        raise ProviderRefused(texts.NOT_SIGNED_IN.format(provider=provider.name), log_detail=detail) from cause
    return dict(tokens)


def _identify(
    tokens: Mapping[str, Any],
    request: ProviderRequest,
    expected_nonce: str,
    provider: SignInProvider,
    endpoints: ProviderEndpoints,
    runtime: Runtime,
    now: float,
) -> ProviderIdentity:
    access_token = str(tokens["access_token"])
    if isinstance(provider, GitHub):
        identity = fetch_identity(access_token, provider, runtime)
        fetch_address = partial(add_primary_email, identity, access_token, provider, runtime)
    else:
        claims = verify_id_token(
            tokens.get("id_token"), expected_nonce, access_token, provider, endpoints, runtime, now
        )
        identity = identity_of_claims(claims, provider)
        if claims.get("email") is not None or endpoints.userinfo is None:
            return identity
        fetch_address = partial(_add_userinfo, claims, endpoints.userinfo, access_token, provider, runtime)
    if provider_links.find(runtime.store, provider.issuer, identity.subject) is not None:
        return identity  # the address is needed only to find or to create an account
    try:
        return fetch_address()
    except (FetchError, TooManyFetches):
        if request.sub is None:
            raise
        return identity  # the account is known: the address is only for display


def _add_userinfo(
    claims: Mapping[str, Any], url: str, access_token: str, provider: SignInProvider, runtime: Runtime
) -> ProviderIdentity:
    """Return the user of an ID token without an address, with address, name and picture of the userinfo endpoint.

    Address and ``email_verified`` are of the same source. Claims about the authentication and the organization are
    those of the ID token only: providers may let users edit what userinfo has.
    """
    userinfo = _fetch_userinfo(url, access_token, claims["sub"], provider, runtime)
    added = {name: userinfo[name] for name in ("email", "email_verified") if name in userinfo}
    names = {name: userinfo[name] for name in ("name", "picture") if name in userinfo}
    own = {name: value for name, value in claims.items() if name not in ("email", "email_verified")}
    return identity_of_claims({**names, **own, **added}, provider)


def _fetch_userinfo(
    url: str, access_token: str, sub: object, provider: SignInProvider, runtime: Runtime
) -> Mapping[str, Any]:
    """Return the claims from the userinfo endpoint; ``sub`` must be that of the ID token (OIDC Core §5.3.2)."""
    with runtime.fetch_slots.providers(url):
        userinfo = runtime.fetcher.get(url, authorization=f"Bearer {access_token}").json()
    if not isinstance(userinfo, dict) or userinfo.get("sub") != sub:
        raise untrusted_response(provider, "the userinfo response is about another sub than the ID token")
    return userinfo


def _check_auth_time(
    identity: ProviderIdentity, request: ProviderRequest, provider: SignInProvider, settings: Settings, now: float
) -> float | None:
    """Return when the user signed in; ``None`` if the provider does not say it.

    :raises ProviderRefused: if the app needs a recent sign-in, and the provider does not say that there was one.
    """
    auth_time, earliest = identity.auth_time, request.min_auth_time
    if earliest is None:
        return None if auth_time is None else min(auth_time, now)
    if auth_time is None or auth_time < earliest - settings.clock_leeway:
        raise ProviderRefused(
            texts.NOT_RECENT.format(provider=provider.name),
            log_detail=f"auth_time is {auth_time}, and must be {earliest:.0f} or later",
        )
    return min(max(auth_time, earliest), now)
