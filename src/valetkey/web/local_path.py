"""The path at which a user continues after a page: always one of this site."""

from __future__ import annotations

from flask import url_for

from valetkey.protocol.uri import is_local_path

from .context import current_runtime


def safe_local_path(path: str | None = None) -> str:
    """Return the path to redirect to: the given one if it is a path of this site, else the account page or ``/``.

    So the page cannot be used as an open redirector.
    """
    if path and is_local_path(path):
        return path
    return url_for("valetkey_resource_owner.account") if current_runtime().settings.account_path else "/"
