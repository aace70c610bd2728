"""Tokens of providers for the host app (``keep_tokens=True``): stored encrypted, and refreshed when they expire."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

from valetkey.outbound.errors import FetchError, TooManyFetches
from valetkey.protocol.printable import escape_unprintable
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.runtime import Runtime
from valetkey.settings.providers import SignInProvider
from valetkey.storage import provider_links
from valetkey.storage.encrypted_columns import PROVIDER_TOKENS
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_links import ProviderLink
from valetkey.tokens.encryption import Cipher

from .authorization_response import VerifiedSignIn
from .client import is_token, make_client
from .endpoints import find_endpoints

_REFRESH_AHEAD_S = 60
_REFRESH_TIMEOUT_S, _POLL_INTERVAL_S = 15.0, 0.1
_REFUSALS = frozenset({"invalid_grant", "bad_refresh_token"})  # RFC 6749 §5.2; GitHub


class ProviderUnavailable(BackendUnavailable):
    """A provider cannot be reached, so that its tokens cannot be refreshed now: respond with status 503."""


def token_statements(
    verified: VerifiedSignIn, provider: SignInProvider, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement, not yet executed, that stores the tokens of a sign-in; none without ``keep_tokens``.

    If the provider issued no new refresh token, the present one stays.
    """
    if not provider.keep_tokens:
        return ()
    subject = verified.identity.subject
    link = provider_links.find(runtime.store, provider.issuer, subject)
    previous = _decrypt(link, runtime.cipher) if link else {}
    tokens = _token_members(verified.tokens, previous, now)
    encrypted = _encrypt(tokens, provider.issuer, subject, runtime.cipher)
    return (provider_links.set_tokens(provider.issuer, subject, encrypted),)


def get_access_token(sub: str, provider_id: str, runtime: Runtime, now: float) -> str | None:
    """Return an access token of a provider for a user, refreshed if it has expired.

    :param sub: the account's ``sub``.
    :returns: ``None`` if the account is not connected with the provider, has no tokens, or the provider does not
        accept the refresh token any more: then the user has to sign in with the provider again.
    :raises LookupError: if there is no such provider in ``sign_in_with``, or it has no ``keep_tokens``.
    :raises ProviderUnavailable: if the provider cannot be reached.
    """
    provider = next((item for item in runtime.settings.sign_in_with if item.provider_id == provider_id), None)
    if provider is None or not provider.keep_tokens:
        raise LookupError(f"sign_in_with has no provider {provider_id!r} with keep_tokens=True")
    began_at = time.monotonic()
    while (link := _find_link(sub, provider, runtime.store)) is not None:
        tokens = _decrypt(link, runtime.cipher)
        waited_s = time.monotonic() - began_at
        if tokens.get("expires_at", math.inf) > now + waited_s + _REFRESH_AHEAD_S:
            return str(tokens["access_token"]) if "access_token" in tokens else None
        if "refresh_token" not in tokens:
            return None
        if runtime.store.write(Transaction(provider_links.begin_refresh(link, _REFRESH_TIMEOUT_S))):
            refreshed = _refresh(link, tokens, provider, runtime, now + waited_s)
            encrypted = _encrypt(refreshed, link.issuer, link.subject, runtime.cipher) if refreshed else None
            if runtime.store.write(Transaction(provider_links.end_refresh(link, encrypted))):
                return str(refreshed["access_token"]) if refreshed else None
            continue  # meanwhile, the user signed in with the provider again, or the user's access ended
        if waited_s > _REFRESH_TIMEOUT_S:
            raise ProviderUnavailable(f"the refresh of a token of {provider.name} takes too long")
        time.sleep(_POLL_INTERVAL_S)  # another request refreshes it
    return None


def _refresh(
    link: ProviderLink, tokens: Mapping[str, Any], provider: SignInProvider, runtime: Runtime, now: float
) -> Mapping[str, Any]:
    """Refresh the tokens of a link, and return what is to be stored; an empty dict if the provider refuses.

    :raises ProviderUnavailable: if the provider cannot be reached, or sends neither tokens nor a refusal; then the
        present tokens stay, and another request may try again.
    """
    from authlib.oauth2 import OAuth2Error

    try:
        client = make_client(provider, find_endpoints(provider, runtime.provider_metadata), runtime, now)
        client.scope = None  # RFC 6749 §6: as originally granted
        refreshed = client.refresh_token(refresh_token=tokens["refresh_token"])
    except (OAuth2Error, FetchError, TooManyFetches, ValueError, TypeError) as cause:
        if isinstance(cause, OAuth2Error) and isinstance(cause.error, str) and cause.error in _REFUSALS:
            return {}
        runtime.store.write(Transaction(provider_links.end_refresh(link, link.tokens)))
        raise ProviderUnavailable(
            f"{provider.name} did not refresh a token: {escape_unprintable(str(cause))}"
        ) from cause
    return _token_members(dict(refreshed), tokens, now)


def _find_link(sub: str, provider: SignInProvider, store: Store) -> ProviderLink | None:
    links = provider_links.list_of_account(store, sub)
    return next((link for link in links if link.issuer == provider.issuer and link.tokens is not None), None)


def _token_members(response: Mapping[str, Any], previous: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return what is stored of a token response (RFC 6749 §5.1): the two tokens, and when the first expires."""
    members = {name: response[name] for name in ("access_token", "refresh_token") if is_token(response.get(name))}
    if response.get("expires_in") is not None:  # a number, see ``client.py``
        members["expires_at"] = now + response["expires_in"]
    if "refresh_token" in previous:
        members.setdefault("refresh_token", previous["refresh_token"])
    return members


def _encrypt(tokens: Mapping[str, Any], issuer: str, subject: str, cipher: Cipher) -> bytes:
    return cipher.encrypt(json.dumps(tokens).encode(), PROVIDER_TOKENS.row_id(issuer=issuer, subject=subject))


def _decrypt(link: ProviderLink, cipher: Cipher) -> dict[str, Any]:
    if link.tokens is None:
        return {}
    return dict(
        json.loads(cipher.decrypt(link.tokens, PROVIDER_TOKENS.row_id(issuer=link.issuer, subject=link.subject)))
    )
