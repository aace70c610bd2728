"""Who may register clients, and which client may manage its own registration."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, delete, exists, not_, select, update

from .engine.records import Insert, columns_of
from .engine.statement import Bound, Statement
from .engine.store import Store
from .tables import clients, consents, device_codes, grants, initial_access_tokens, registrations


@dataclass(frozen=True, slots=True)
class InitialAccessToken:
    digest: bytes
    policy: str
    uses_left: int
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Registration:
    client_id: str
    digest: bytes
    policy: str | None
    waits: int


_TOKEN = columns_of(initial_access_tokens, InitialAccessToken)
ADD_TOKEN = Insert(initial_access_tokens, InitialAccessToken)
_FIND_TOKEN = Statement(
    select(*_TOKEN).where(
        initial_access_tokens.c.digest == bindparam("digest"),
        initial_access_tokens.c.uses_left > 0,
        initial_access_tokens.c.expires_at > bindparam("now"),
    )
)
_USE_TOKEN = Statement(
    update(initial_access_tokens)
    .where(
        initial_access_tokens.c.digest == bindparam("wanted"),
        initial_access_tokens.c.uses_left > 0,
        initial_access_tokens.c.expires_at > bindparam("now"),
    )
    .values(uses_left=initial_access_tokens.c.uses_left - 1)
)
ADD = Insert(registrations, Registration)
_FIND = Statement(
    select(*columns_of(registrations, Registration)).where(registrations.c.client_id == bindparam("client_id"))
)
_WAITING = Statement(select(registrations.c.client_id).where(registrations.c.waits == 1))
_CHANGE = Statement(
    update(registrations)
    .where(registrations.c.client_id == bindparam("wanted"), registrations.c.digest == bindparam("old"))
    .values(digest=bindparam("new"), waits=bindparam("waits"))
)
_APPROVE = Statement(update(registrations).where(registrations.c.client_id == bindparam("wanted")).values(waits=0))
_REMOVE = Statement(delete(registrations).where(registrations.c.client_id == bindparam("wanted")))
_REMOVE_OWN = Statement(
    delete(registrations).where(
        registrations.c.client_id == bindparam("wanted"), registrations.c.digest == bindparam("old")
    )
)


def find_token(store: Store, digest: bytes, now: float) -> InitialAccessToken | None:
    """An initial access token that can still be used."""
    row = store.one(_FIND_TOKEN(digest=digest, now=now))
    return InitialAccessToken(*row) if row else None


def use_token(digest: bytes, now: float) -> Bound:
    """The claim on one use of an initial access token."""
    return _USE_TOKEN(wanted=digest, now=now)


def find(store: Store, client_id: str) -> Registration | None:
    row = store.one(_FIND(client_id=client_id))
    return Registration(*row) if row else None


def waiting(store: Store) -> frozenset[str]:
    """The ``client_id`` of each app that waits for the operator's approval."""
    return frozenset(client_id for (client_id,) in store.all(_WAITING()))


def change(registration: Registration, digest: bytes, *, waits: bool) -> Bound:
    """The claim on a change: won by one of those who bring the same registration access token."""
    return _CHANGE(wanted=registration.client_id, old=bytes(registration.digest), new=digest, waits=int(waits))


def approve(client_id: str) -> Bound:
    return _APPROVE(wanted=client_id)


def remove(client_id: str) -> Bound:
    return _REMOVE(wanted=client_id)


def remove_own(registration: Registration) -> Bound:
    """The claim on a removal, while the registration access token is still the one that was shown."""
    return _REMOVE_OWN(wanted=registration.client_id, old=bytes(registration.digest))


# One that acts for itself leaves no trace of its tokens: it may be in use.
_UNUSED = and_(
    clients.c.created_at < bindparam("before"),
    exists().where(registrations.c.client_id == clients.c.client_id, registrations.c.policy.is_(None)),
    not_(clients.c.metadata.contains("client_credentials", autoescape=True)),
    *(not_(exists().where(table.c.client_id == clients.c.client_id)) for table in (grants, consents, device_codes)),
)
_FIND_UNUSED = Statement(select(clients.c.client_id).where(_UNUSED).limit(500))
_REMOVE_UNUSED = Statement(delete(clients).where(clients.c.client_id == bindparam("wanted"), _UNUSED))


def find_unused(store: Store, before: float) -> list[str]:
    """Some of those that registered without anybody's word before a moment, and that no person ever gave anything."""
    return [str(row[0]) for row in store.all(_FIND_UNUSED(before=before))]


def remove_unused(client_id: str, before: float) -> Bound:
    """The claim on a removal: lost where somebody has begun to use the client meanwhile."""
    return _REMOVE_UNUSED(wanted=client_id, before=before)
