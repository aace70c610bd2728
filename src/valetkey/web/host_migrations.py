"""A host's Flask-Migrate in a database that we share: without a word it would drop our tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, appcontext_pushed

_TABLE_PREFIX = "valetkey_"


def hide_tables_from_migrate(app: Flask) -> Callable[[], None]:
    """See that ``flask db migrate`` looks past our tables; the answer ends the watch for Flask-Migrate.

    An extension may come later than ours, and commands make no request: so each application context is looked at,
    until Flask-Migrate is found or requests begin.
    """

    def look(sender: Flask, **_: Any) -> None:
        arguments: Any = getattr(sender.extensions.get("migrate"), "configure_args", None)
        if arguments is not None:
            appcontext_pushed.disconnect(look, sender)
            arguments["include_name"] = _exclude_valetkey_tables(arguments.get("include_name"))

    appcontext_pushed.connect(look, app, weak=False)
    return lambda: appcontext_pushed.disconnect(look, app)


def _exclude_valetkey_tables(host_filter: Callable[..., bool] | None) -> Callable[..., bool]:
    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        ours = kind == "table" and (name or "").startswith(_TABLE_PREFIX)
        return not ours and (host_filter is None or host_filter(name, kind, parents))

    return include_name
