"""Subscriptions: each client's plan (rate limit, quota and scopes), and the plan that it has requested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, bindparam, delete, null, select, update

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import subscriptions


@dataclass(frozen=True, slots=True)
class Subscription:
    """A client's subscription to a plan.

    :param plan: name of the plan in effect.
    :param wanted: name of the requested plan while the operator's approval is pending; else ``None``.
    :param since: when the subscription was last changed (seconds since 1970).
    """

    client_id: str
    plan: str
    wanted: str | None
    since: float


_COLUMNS = [subscriptions.c[name] for name in Subscription.__slots__]


def _upsert(insert: Any) -> Executable:
    insert_row = insert(subscriptions).values({name: bindparam(name) for name in Subscription.__slots__})
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[subscriptions.c.client_id],
        set_={name: insert_row.excluded[name] for name in ("plan", "wanted", "since")},
    )
    return statement


def _request(insert: Any) -> Executable:
    insert_row = insert(subscriptions).values({name: bindparam(name) for name in Subscription.__slots__})
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[subscriptions.c.client_id], set_={"wanted": insert_row.excluded.wanted}
    )
    return statement


_UPSERT = Statement(_upsert)
_REQUEST = Statement(_request)
_FIND = Statement(select(*_COLUMNS).where(subscriptions.c.client_id == bindparam("client_id")))
_ALL = Statement(select(*_COLUMNS).order_by(subscriptions.c.client_id))
_APPROVE = Statement(
    update(subscriptions)
    .where(subscriptions.c.client_id == bindparam("of"), subscriptions.c.wanted == bindparam("approved"))
    .values(plan=bindparam("approved"), wanted=null(), since=bindparam("at"))
)
_REMOVE = Statement(delete(subscriptions).where(subscriptions.c.client_id == bindparam("of")))


def find(store: Store, client_id: str) -> Subscription | None:
    """Return the client's subscription to a plan; ``None`` if it has none, which means the default plan."""
    row = store.fetch_one(_FIND(client_id=client_id))
    return Subscription(*row) if row else None


def list_all(store: Store) -> list[Subscription]:
    return [Subscription(*row) for row in store.fetch_all(_ALL())]


def upsert(subscription: Subscription) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds or replaces a client's subscription to a plan."""
    return _UPSERT(**{name: getattr(subscription, name) for name in Subscription.__slots__})


def request(subscription: Subscription) -> BoundStatement:
    """Return the SQL statement, not yet run, that stores which plan a client requests. The plan that it has stays.

    :param subscription: the subscription to add if the client has none.
    """
    return _REQUEST(**{name: getattr(subscription, name) for name in Subscription.__slots__})


def approve(client_id: str, plan: str, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that gives a client the plan that it requested.

    It changes nothing if the client has no pending request for this plan.
    """
    return _APPROVE(of=client_id, approved=plan, at=now)


def remove(client_id: str) -> BoundStatement:
    return _REMOVE(of=client_id)
