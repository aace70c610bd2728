"""Initial access tokens (RFC 7591 §1.2), and registrations that clients manage themselves (RFC 7592)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Integer, and_, bindparam, delete, exists, literal, not_, select, update

from .clients import IS_AS_READ, Client, values_as_read
from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import clients, consents, device_codes, grants, initial_access_tokens, registrations


@dataclass(frozen=True, slots=True)
class InitialAccessToken:
    """An initial access token: with it, ``uses_left`` more clients can register. Times are seconds since 1970.

    :param policy: the policy that these clients get, for example ``web`` or ``machine``.
    """

    digest: bytes
    policy: str
    uses_left: int
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Registration:
    """The registration of a client that registered itself.

    :param digest: digest of the registration access token (RFC 7592 §3).
    :param policy: the client policy set by the initial access token, for example ``web``; ``None`` if the policy
        follows from the client's metadata.
    :param waits: 1 while the operator's approval is pending, else 0.
    """

    client_id: str
    digest: bytes
    policy: str | None
    waits: int


_TOKEN_COLUMNS = columns_of(initial_access_tokens, InitialAccessToken)
add_initial_access_token = InsertStatement(initial_access_tokens, InitialAccessToken)
_FIND_TOKEN = Statement(
    select(*_TOKEN_COLUMNS).where(
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
add = InsertStatement(registrations, Registration)
_FIND = Statement(
    select(*columns_of(registrations, Registration)).where(registrations.c.client_id == bindparam("client_id"))
)
_LIST_PENDING = Statement(select(registrations.c.client_id).where(registrations.c.waits == 1))
_CHANGE = Statement(
    update(registrations)
    .where(
        registrations.c.client_id == bindparam("wanted"),
        registrations.c.digest == bindparam("old"),
        exists(select(literal(1, Integer)).select_from(clients).where(IS_AS_READ).with_for_update()),
    )
    .values(digest=bindparam("new"), waits=bindparam("waits"))
)
_APPROVE = Statement(update(registrations).where(registrations.c.client_id == bindparam("wanted")).values(waits=0))
_REMOVE = Statement(delete(registrations).where(registrations.c.client_id == bindparam("wanted")))
_REMOVE_IF_TOKEN_MATCHES = Statement(
    delete(registrations).where(
        registrations.c.client_id == bindparam("wanted"), registrations.c.digest == bindparam("old")
    )
)


def find_initial_access_token(store: Store, digest: bytes, now: float) -> InitialAccessToken | None:
    """Return the initial access token with this digest; ``None`` if there is none, or if it is expired or used up."""
    row = store.fetch_one(_FIND_TOKEN(digest=digest, now=now))
    return InitialAccessToken(*row) if row else None


def use_initial_access_token(digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that uses an initial access token once.

    It changes nothing if the token has expired or has no uses left.
    """
    return _USE_TOKEN(wanted=digest, now=now)


def find(store: Store, client_id: str) -> Registration | None:
    """Return the client's registration; ``None`` if the client did not register itself."""
    row = store.fetch_one(_FIND(client_id=client_id))
    return Registration(*row) if row else None


def list_pending_client_ids(store: Store) -> frozenset[str]:
    """Return the ids of the clients that registered themselves and that the operator has not approved yet."""
    return frozenset(client_id for (client_id,) in store.fetch_all(_LIST_PENDING()))


def change(registration: Registration, client: Client, new_digest: bytes, *, is_pending: bool) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that replaces a registration access token.

    It also sets whether the operator's approval is pending (``is_pending``). It changes nothing if the token was
    replaced since ``registration`` was read: of several requests with the same token, one succeeds. Nor if the operator
    has changed, disabled or enabled the client since ``client`` was read.

    :param new_digest: digest of the new registration access token.
    """
    return _CHANGE(**values_as_read(client), old=bytes(registration.digest), new=new_digest, waits=int(is_pending))


def approve(client_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that marks a client's registration as approved by the operator."""
    return _APPROVE(wanted=client_id)


def remove(client_id: str) -> BoundStatement:
    return _REMOVE(wanted=client_id)


def remove_if_token_matches(registration: Registration) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that removes a client's registration.

    It changes nothing if the registration access token was replaced since ``registration`` was read.
    """
    return _REMOVE_IF_TOKEN_MATCHES(wanted=registration.client_id, old=bytes(registration.digest))


# Clients with the grant type client_credentials are excluded: their tokens leave no rows, so that they may be in use.
_IS_UNUSED = and_(
    clients.c.created_at < bindparam("before"),
    exists().where(registrations.c.client_id == clients.c.client_id, registrations.c.policy.is_(None)),
    not_(clients.c.metadata.contains("client_credentials", autoescape=True)),
    *(not_(exists().where(table.c.client_id == clients.c.client_id)) for table in (grants, consents, device_codes)),
)
_LIST_UNUSED_CLIENT_IDS = Statement(select(clients.c.client_id).where(_IS_UNUSED).limit(500))
_REMOVE_CLIENT_IF_UNUSED = Statement(delete(clients).where(clients.c.client_id == bindparam("wanted"), _IS_UNUSED))


def list_unused_client_ids(store: Store, created_before: float) -> list[str]:
    """Return up to 500 ids of clients that registered themselves before ``created_before`` and were never used.

    Clients that registered with an initial access token, that have a grant, a consent or a device code, or that may
    use ``client_credentials`` are left out.
    """
    return [str(row[0]) for row in store.fetch_all(_LIST_UNUSED_CLIENT_IDS(before=created_before))]


def remove_client_if_unused(client_id: str, created_before: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that removes a client that was never used.

    It removes nothing if the client does not fulfil the conditions of ``list_unused_client_ids`` any more.
    """
    return _REMOVE_CLIENT_IF_UNUSED(wanted=client_id, before=created_before)
