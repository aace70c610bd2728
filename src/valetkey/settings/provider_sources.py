"""Providers in settings that are text or JSON, and in the environment variables ``OIDC_...``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .provider_presets import GOOGLE_ISSUER, Apple, GitHub, GitLab, Google, Microsoft
from .providers import OpenIDProvider, SignInProvider

_PRESETS: Mapping[str, type[SignInProvider]] = {
    "openid": OpenIDProvider,
    "google": Google,
    "github": GitHub,
    "gitlab": GitLab,
    "microsoft": Microsoft,
    "apple": Apple,
}


def parse_providers(value: Any) -> Any:
    """Convert the value of the setting ``sign_in_with`` and return it: JSON objects become ``SignInProvider`` values.

    A value of another type is returned unchanged; ``provider_problems`` reports it later.

    :raises ValueError: if a text is not a JSON array, or an object has unknown or missing members.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except ValueError:
            value = None
        if not isinstance(value, list):
            raise ValueError(
                'must be a JSON array, like [{"provider": "google", "client_id": "...", "client_secret": "..."}]'
            )
    if not isinstance(value, list | tuple):
        return value
    return tuple(_parse_provider(item) if isinstance(item, Mapping) else item for item in value)


def _parse_provider(members: Mapping[str, Any]) -> SignInProvider:
    options = dict(members)
    preset = options.pop("provider", "openid")
    if not isinstance(preset, str) or preset not in _PRESETS:
        raise ValueError(f"the provider {preset!r} must be one of {', '.join(_PRESETS)}")
    try:
        return _PRESETS[preset](**options)
    except TypeError as problem:  # "... got an unexpected keyword argument 'x'"; it contains no value
        raise ValueError(f"the provider {preset!r}: {str(problem).partition('__init__() ')[2]}") from None


def provider_of_variables(variables: Mapping[str, str]) -> SignInProvider | None:
    """Return the provider that the variables ``OIDC_...`` name; ``None`` if they do not name one.

    :param variables: ``OIDC_CLIENT_ID``, ``OIDC_CLIENT_SECRET`` and, for another provider than Google, ``OIDC_ISSUER``.
    """
    client_id, client_secret = variables.get("OIDC_CLIENT_ID"), variables.get("OIDC_CLIENT_SECRET")
    if not client_id or not client_secret:
        return None
    issuer = (variables.get("OIDC_ISSUER") or GOOGLE_ISSUER).strip()
    if issuer.rstrip("/") == GOOGLE_ISSUER:
        return Google(client_id, client_secret)
    return OpenIDProvider(issuer, client_id, client_secret, name=urlsplit(issuer).netloc or "OpenID", id="openid")


def list_useless_variables(variables: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable ``OIDC_...`` that has no effect because another one is missing."""
    needed = ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET")
    missing = [name for name in needed if not variables.get(name)]
    present = [name for name in (*needed, "OIDC_ISSUER") if variables.get(name)]
    return [f"{name}: set {' and '.join(missing)}, too" for name in present if missing]
