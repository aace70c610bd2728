"""Exclude Valetkey's tables from migrations that the host app generates with Flask-Migrate.

If host and Valetkey share a database, such a migration would drop Valetkey's tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, appcontext_pushed

_TABLE_PREFIX = "valetkey_"


def hide_tables_from_migrate(app: Flask) -> Callable[[], None]:
    """Make ``flask db migrate`` ignore Valetkey's tables; return a function that stops looking for Flask-Migrate.

    Flask-Migrate may be set up after Valetkey, and commands make no request. Therefore each application context is
    checked until Flask-Migrate is found or the returned function is called, at the first request.
    """

    def set_filter(sender: Flask, **_: Any) -> None:
        arguments: Any = getattr(sender.extensions.get("migrate"), "configure_args", None)
        if arguments is not None:
            appcontext_pushed.disconnect(set_filter)
            arguments["include_name"] = _exclude_valetkey_tables(arguments.get("include_name"))

    appcontext_pushed.connect(set_filter, app, weak=False)
    return lambda: appcontext_pushed.disconnect(set_filter)


def _exclude_valetkey_tables(host_filter: Callable[..., bool] | None) -> Callable[..., bool]:
    """Return an ``include_name`` function for Alembic that excludes Valetkey's tables.

    :param host_filter: the host app's own ``include_name``, which is called for all other names; None if it has none.
    """

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        is_valetkey_table = kind == "table" and (name or "").startswith(_TABLE_PREFIX)
        return not is_valetkey_table and (host_filter is None or host_filter(name, kind, parents))

    return include_name
