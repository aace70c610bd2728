"""Which app has which plan, and which one it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, bindparam, delete, null, select, update

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import subscriptions


@dataclass(frozen=True, slots=True)
class Subscription:
    """``wanted`` is a plan that waits for the operator's approval; ``since``: seconds since 1970."""

    client_id: str
    plan: str
    wanted: str | None
    since: float


_COLUMNS = [subscriptions.c[name] for name in Subscription.__slots__]


def _upsert(insert: Any) -> Executable:
    made = insert(subscriptions).values({name: bindparam(name) for name in Subscription.__slots__})
    statement: Executable = made.on_conflict_do_update(
        index_elements=[subscriptions.c.client_id],
        set_={name: made.excluded[name] for name in ("plan", "wanted", "since")},
    )
    return statement


_UPSERT = Statement(_upsert)
_FIND = Statement(select(*_COLUMNS).where(subscriptions.c.client_id == bindparam("client_id")))
_ALL = Statement(select(*_COLUMNS).order_by(subscriptions.c.client_id))
_APPROVE = Statement(
    update(subscriptions)
    .where(subscriptions.c.client_id == bindparam("of"), subscriptions.c.wanted == bindparam("approved"))
    .values(plan=bindparam("approved"), wanted=null(), since=bindparam("at"))
)
_REMOVE = Statement(delete(subscriptions).where(subscriptions.c.client_id == bindparam("of")))


def find(store: Store, client_id: str) -> Subscription | None:
    row = store.fetch_one(_FIND(client_id=client_id))
    return Subscription(*row) if row else None


def list_all(store: Store) -> list[Subscription]:
    return [Subscription(*row) for row in store.fetch_all(_ALL())]


def upsert(subscription: Subscription) -> BoundStatement:
    """An app has one subscription: another takes the place of the one before."""
    return _UPSERT(**{name: getattr(subscription, name) for name in Subscription.__slots__})


def approve(client_id: str, plan: str, now: float) -> BoundStatement:
    """The claim that the app still waits for this plan, and has it from now on."""
    return _APPROVE(of=client_id, approved=plan, at=now)


def remove(client_id: str) -> BoundStatement:
    return _REMOVE(of=client_id)
