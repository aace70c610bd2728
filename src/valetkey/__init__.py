"""OAuth 2.0 for Flask: an authorization server, protected API routes and rate limits as one extension.

``Valetkey`` adds all of it to an app; ``ResourceServer`` only protects routes, for tokens of other issuers. Routes are
protected with ``@require_oauth``, or marked with ``@public``; ``current_token`` is the access token of the request.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError(
        "Valetkey does not run on Windows: use the Windows Subsystem for Linux (WSL), a container, Linux or macOS"
    )

if TYPE_CHECKING:
    from .activity.log import JsonLogFormatter
    from .extension import Valetkey
    from .federation.tokens import ProviderUnavailable
    from .federation.views import provider_token
    from .openapi.describe import describe
    from .openapi.document import add_security
    from .protocol.access_token import AccessToken
    from .protocol.resource_owner import Owner, ResourceOwners
    from .rate_limiting.rate_limit import RateLimit
    from .resource_server.guard.current_token import current_token
    from .resource_server.guard.require_oauth import public, require_oauth
    from .resource_server.guard.route_protection import protect
    from .resource_server.issuers.config import IntrospectionClient, TrustedIssuer
    from .settings import Settings, SettingsError
    from .settings.plans import Plan
    from .settings.provider_presets import Apple, GitHub, GitLab, Google, Microsoft
    from .settings.providers import OpenIDProvider
    from .standalone import ResourceServer
    from .web.refused_call import CallRefused

__all__ = [
    "AccessToken",
    "Apple",
    "CallRefused",
    "GitHub",
    "GitLab",
    "Google",
    "IntrospectionClient",
    "JsonLogFormatter",
    "Microsoft",
    "OpenIDProvider",
    "Owner",
    "Plan",
    "ProviderUnavailable",
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
    "provider_token",
    "public",
    "require_oauth",
]
__version__ = "0.1.0"

# Imported on first access: an app that uses only `ResourceServer` imports neither authorization server nor database.
_MODULES = {
    "Apple": "settings.provider_presets",
    "AccessToken": "protocol.access_token",
    "CallRefused": "web.refused_call",
    "GitHub": "settings.provider_presets",
    "GitLab": "settings.provider_presets",
    "Google": "settings.provider_presets",
    "IntrospectionClient": "resource_server.issuers.config",
    "JsonLogFormatter": "activity.log",
    "Microsoft": "settings.provider_presets",
    "OpenIDProvider": "settings.providers",
    "Owner": "protocol.resource_owner",
    "Plan": "settings.plans",
    "ProviderUnavailable": "federation.tokens",
    "RateLimit": "rate_limiting.rate_limit",
    "ResourceOwners": "protocol.resource_owner",
    "ResourceServer": "standalone",
    "Settings": "settings",
    "SettingsError": "settings",
    "TrustedIssuer": "resource_server.issuers.config",
    "Valetkey": "extension",
    "add_security": "openapi.document",
    "current_token": "resource_server.guard.current_token",
    "protect": "resource_server.guard.route_protection",
    "describe": "openapi.describe",
    "provider_token": "federation.views",
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
