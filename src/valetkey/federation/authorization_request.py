"""Begins a sign-in with a provider: the authorization request (OpenID Connect Core §3.1.2.1).

Nothing secret is stored. ``state`` is a random secret, of which the digest is stored; ``nonce`` and the PKCE verifier
follow from ``state`` and the secret cookie of the browser. Only the browser that began the sign-in can finish it.
"""

from __future__ import annotations

import base64
import hmac
from typing import Any

from valetkey.accounts.login_context import LoginContext
from valetkey.authorization_server.authorize.request import AuthorizationRequest
from valetkey.authorization_server.texts import TOO_MANY_SIGN_INS
from valetkey.outbound.errors import FetchError, TooManyFetches
from valetkey.protocol.secret import PROVIDER_STATE, Secret, generate_secret
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.settings.providers import SignInProvider
from valetkey.storage import provider_requests
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_requests import ProviderRequest

from . import texts
from .client import make_client
from .endpoints import ProviderEndpoints, find_endpoints
from .errors import ProviderRefused

_MAX_PER_BROWSER = 20


def begin_sign_in(
    provider: SignInProvider,
    next_path: str,
    pending: AuthorizationRequest | None,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
    *,
    connect_to: str | None = None,
    takes_address: bool = False,
    fresh: bool = False,
) -> str:
    """Store an authorization request to a provider, and return the URL to which the browser is redirected.

    :param next_path: local path to continue with after the sign-in.
    :param pending: the authorization request of an app that needs the sign-in; ``None`` if there is none. Its
        ``prompt``, ``login_hint``, ``max_age`` and ``acr_values`` are passed on to the provider.
    :param connect_to: ``sub`` of the signed-in account that is to be connected to the provider; ``None`` to sign in.
    :param takes_address: whether the user chose to take the address from an account that has not verified it.
    :param fresh: whether the user is signed in, and signs in again, perhaps with another account. The provider is asked
        to authenticate the user and to offer its accounts, but a provider that does not say when it authenticated the
        user is accepted, unless ``pending`` requires a recent sign-in.
    :raises ProviderRefused: if the provider cannot be reached.
    :raises TooManyRequests: if too many sign-ins were begun from the caller's network.
    """
    network = caller_network(login_context.address)
    runtime.limits.charge("interaction_limit", "provider", network, now=now, description=TOO_MANY_SIGN_INS)
    try:
        endpoints = find_endpoints(provider, runtime.provider_metadata)
    except (FetchError, TooManyFetches) as cause:
        raise unreachable(provider, cause) from cause
    state = generate_secret(PROVIDER_STATE)
    parameters = _passed_on_parameters(provider, pending)
    if prompts := _prompts(provider, endpoints, pending, fresh=fresh):
        parameters["prompt"] = " ".join(sorted(prompts))
    max_age = parameters.get("max_age")
    if fresh:
        parameters.setdefault("max_age", "0")
    row = ProviderRequest(
        digest=state.digest(),
        browser=login_context.browser.digest(),
        provider_id=provider.provider_id,
        sub=connect_to,
        next=next_path,
        min_auth_time=None if max_age is None else now - float(max_age),
        takes_address=int(takes_address),
        begun_at=now,
        expires_at=now + runtime.settings.interaction_lifetime,
    )
    _store_request(row, runtime.store)
    if endpoints.jwks_uri is not None:
        parameters["nonce"] = nonce(state, login_context.browser)
    url, _ = make_client(provider, endpoints, runtime, now).create_authorization_url(
        endpoints.authorization,
        state=state.reveal(),
        code_verifier=code_verifier(state, login_context.browser),
        **parameters,
    )
    return str(url)


def _store_request(row: ProviderRequest, store: Store) -> None:
    """Store an authorization request, and remove the oldest ones of the browser if it has begun too many."""
    others = provider_requests.remove_all_but_newest(row.browser, _MAX_PER_BROWSER - 1)
    store.write(Transaction(rows=(others, provider_requests.add(row))))


def unreachable(provider: SignInProvider, cause: FetchError | TooManyFetches) -> ProviderRefused:
    """Return the exception for a provider that cannot be reached."""
    return ProviderRefused(texts.UNREACHABLE.format(provider=provider.name), log_detail=str(cause))


def code_verifier(state: Secret, browser: Secret) -> str:
    """Return the PKCE code verifier of an authorization request (RFC 7636 §4.1)."""
    return _derive("code_verifier", state, browser)


def nonce(state: Secret, browser: Secret) -> str:
    """Return the ``nonce`` of an authorization request (OpenID Connect Core §15.5.2)."""
    return _derive("nonce", state, browser)


def _derive(purpose: str, state: Secret, browser: Secret) -> str:
    digest = hmac.digest(browser.reveal().encode(), f"{purpose} {state.reveal()}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _prompts(
    provider: SignInProvider, endpoints: ProviderEndpoints, pending: AuthorizationRequest | None, *, fresh: bool
) -> set[str]:
    """Return the values of ``prompt``: those that the provider always needs, and those that this sign-in needs.

    One of ``login`` and ``select_account`` replaces the other, if the provider supports only one: both let the user
    sign in with another account.

    :param fresh: whether a signed-in user signs in again, who may want to use another account.
    """
    always = {*provider.authorization_parameters.get("prompt", "").split()}
    needed = {"login", "select_account"} & {*(pending.prompt if pending else ())}
    if fresh and "login" not in needed | always:
        needed.add("select_account")
    return always | ((needed & endpoints.prompts or endpoints.prompts) if needed else set())


def _passed_on_parameters(provider: SignInProvider, pending: AuthorizationRequest | None) -> dict[str, Any]:
    """Return the additional parameters of the authorization request, except ``prompt``.

    For ``prompt=login``, ``max_age=0`` is sent, so that the ID token has to say when the user signed in.
    """
    parameters: dict[str, Any] = dict(provider.authorization_parameters)
    if provider.response_mode is not None:
        parameters["response_mode"] = provider.response_mode
    if pending is None:
        return parameters
    if "login" in {*parameters.get("prompt", "").split(), *pending.prompt}:
        parameters["max_age"] = "0"
    elif pending.max_age is not None:
        parameters["max_age"] = str(pending.max_age)
    if pending.login_hint is not None:
        parameters["login_hint"] = pending.login_hint
    if pending.acr_values:
        parameters["acr_values"] = " ".join(pending.acr_values)
    return parameters
