"""Public APIs with Flask and OAuth 2.0: ``Valetkey``, ``require_oauth``, ``public``, ``current_token``."""

from __future__ import annotations

from .accounts.owner import Owner, ResourceOwners
from .extension import Valetkey
from .resource_server.guard import current_token, public, require_oauth
from .settings import Settings, SettingsError
from .tokens.access_token import AccessToken

__all__ = [
    "AccessToken",
    "Owner",
    "ResourceOwners",
    "Settings",
    "SettingsError",
    "Valetkey",
    "current_token",
    "public",
    "require_oauth",
]
__version__ = "0.1.0"
