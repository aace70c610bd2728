"""Public APIs with Flask and OAuth 2.0: ``Valetkey``, ``require_oauth``, ``public``, ``current_token``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .accounts.owner import Owner, ResourceOwners
    from .extension import Valetkey
    from .rate_limiting.rate_limit import RateLimit
    from .resource_server.deciding import protect
    from .resource_server.described import describe
    from .resource_server.guard import current_token, public, require_oauth
    from .resource_server.issuers.trusted import IntrospectionClient, TrustedIssuer
    from .resource_server.openapi import add_security
    from .resource_server.standalone import ResourceServer
    from .settings import Settings, SettingsError
    from .settings.plans import Plan
    from .tokens.access_token import AccessToken

__all__ = [
    "AccessToken",
    "IntrospectionClient",
    "Owner",
    "Plan",
    "RateLimit",
    "ResourceOwners",
    "ResourceServer",
    "Settings",
    "SettingsError",
    "TrustedIssuer",
    "Valetkey",
    "add_security",
    "current_token",
    "describe",
    "protect",
    "public",
    "require_oauth",
]
__version__ = "0.1.0"

# Imported when first asked for: a resource server alone needs no authorization server, and no database.
_HOMES = {
    "AccessToken": "tokens.access_token",
    "IntrospectionClient": "resource_server.issuers.trusted",
    "Owner": "accounts.owner",
    "Plan": "settings.plans",
    "RateLimit": "rate_limiting.rate_limit",
    "ResourceOwners": "accounts.owner",
    "ResourceServer": "resource_server.standalone",
    "Settings": "settings",
    "SettingsError": "settings",
    "TrustedIssuer": "resource_server.issuers.trusted",
    "Valetkey": "extension",
    "add_security": "resource_server.openapi",
    "current_token": "resource_server.guard",
    "protect": "resource_server.deciding",
    "describe": "resource_server.described",
    "public": "resource_server.guard",
    "require_oauth": "resource_server.guard",
}

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
