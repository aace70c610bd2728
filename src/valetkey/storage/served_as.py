"""The issuer and the app of the server that uses the database: some commands must not have other settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Executable, bindparam, select

from .engine.statement import Statement
from .engine.store import Store
from .tables import served_as


@dataclass(frozen=True, slots=True)
class ServedAs:
    """Issuer, app and settings of the server process that started last.

    :param issuer: the issuer.
    :param app: name of the Flask app.
    :param code_settings: names of the settings in the code of the app, separated by spaces. A command without the app
        does not have them. ``resource_owner`` is one if the app has users of its own.
    """

    issuer: str
    app: str
    code_settings: str


def _save(insert: Any) -> Executable:
    names = ("issuer", "app", "code_settings")
    insert_row = insert(served_as).values(row=1, **{name: bindparam(name) for name in names})
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[served_as.c.row], set_={name: insert_row.excluded[name] for name in names}
    )
    return statement


_SAVE = Statement(_save)
_FIND = Statement(select(served_as.c.issuer, served_as.c.app, served_as.c.code_settings))


def find(store: Store) -> ServedAs | None:
    """Return what the server has; ``None`` if none has started yet."""
    row = store.fetch_one(_FIND())
    return ServedAs(*row) if row else None


def save(store: Store, server: ServedAs) -> None:
    """Store what a server has, unless it is stored."""
    if find(store) != server:
        store.write_all(_SAVE(**asdict(server)))
