"""The user at GitHub, from its REST API: GitHub has plain OAuth 2.0, without ID tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from valetkey.runtime import Runtime
from valetkey.settings.provider_presets import GitHub

from .id_token import untrusted_response
from .identity import ProviderIdentity, clean_email, clean_name, clean_picture

_MAX_ID = 2**63
_MEDIA_TYPE = "application/vnd.github+json"


def fetch_identity(access_token: str, provider: GitHub, runtime: Runtime) -> ProviderIdentity:
    """Return the user to whom GitHub issued an access token, without an e-mail address.

    :raises ProviderRefused: if GitHub's answer cannot be used.
    :raises FetchError: if GitHub cannot be reached.
    """
    user = _get(f"{provider.api_url}/user", access_token, provider, runtime)
    user_id = user.get("id") if isinstance(user, dict) else None
    if not isinstance(user_id, int) or isinstance(user_id, bool) or abs(user_id) > _MAX_ID:
        raise untrusted_response(provider, "the user of the API has no id")
    return ProviderIdentity(
        subject=str(user_id),
        name=clean_name(user.get("name")) or clean_name(user.get("login")),
        picture=clean_picture(user.get("avatar_url")),
    )


def add_primary_email(
    identity: ProviderIdentity, access_token: str, provider: GitHub, runtime: Runtime
) -> ProviderIdentity:
    """Return the user with the primary e-mail address at GitHub.

    :raises FetchError: if GitHub cannot be reached.
    """
    email, is_verified = _primary_email(_get(f"{provider.api_url}/user/emails", access_token, provider, runtime))
    return replace(identity, email=email, email_is_verified=is_verified)


def _get(url: str, access_token: str, provider: GitHub, runtime: Runtime) -> Any:
    with runtime.fetch_slots.providers(url):
        return runtime.fetcher.get(url, accept=_MEDIA_TYPE, authorization=f"Bearer {access_token}").json()


def _primary_email(emails: Any) -> tuple[str | None, bool]:
    """Return the primary address in GitHub's list, and whether GitHub has verified it."""
    for entry in emails if isinstance(emails, list) else ():
        if isinstance(entry, dict) and entry.get("primary") is True and "email" in entry:
            email = clean_email(entry["email"])
            return email, email is not None and entry.get("verified") is True
    return None, False
