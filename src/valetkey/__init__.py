"""OAuth 2.0 for Flask: an authorization server, protected API routes and rate limits as one extension.

``Valetkey`` adds all of it to an app; ``ResourceServer`` only protects routes, for tokens of other issuers. Routes are
protected with ``@require_oauth``, or marked with ``@public``; ``current_token`` is the access token of the request.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .extension import Valetkey
    from .openapi.describe import describe
    from .openapi.document import add_security
    from .protocol.access_token import AccessToken
    from .protocol.resource_owner import Owner, ResourceOwners
    from .rate_limiting.rate_limit import RateLimit
    from .resource_server.guard.require_oauth import current_token, public, require_oauth
    from .resource_server.guard.route_protection import protect
    from .resource_server.issuers.config import IntrospectionClient, TrustedIssuer
    from .settings import Settings, SettingsError
    from .settings.plans import Plan
    from .standalone import ResourceServer

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

# Imported on first access: an app that uses only `ResourceServer` imports neither authorization server nor database.
_MODULES = {
    "AccessToken": "protocol.access_token",
    "IntrospectionClient": "resource_server.issuers.config",
    "Owner": "protocol.resource_owner",
    "Plan": "settings.plans",
    "RateLimit": "rate_limiting.rate_limit",
    "ResourceOwners": "protocol.resource_owner",
    "ResourceServer": "standalone",
    "Settings": "settings",
    "SettingsError": "settings",
    "TrustedIssuer": "resource_server.issuers.config",
    "Valetkey": "extension",
    "add_security": "openapi.document",
    "current_token": "resource_server.guard.require_oauth",
    "protect": "resource_server.guard.route_protection",
    "describe": "openapi.describe",
    "public": "resource_server.guard.require_oauth",
    "require_oauth": "resource_server.guard.require_oauth",
}

if not TYPE_CHECKING:  # because of __getattr__, a type checker would accept every attribute of this module

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
