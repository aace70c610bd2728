"""Remembered consents of resource owners to clients, which also make up the list of connected apps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Text, and_, bindparam, case, delete, func, not_, select, update

from .engine.records import columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .scope_columns import has_scope, without_scope
from .tables import consents, grants


@dataclass(frozen=True, slots=True)
class Consent:
    """A resource owner's remembered consent to a client's scopes. Times are seconds since 1970.

    :param scope: scope names, separated by spaces.
    :param address: IP address from which the owner consented last; ``None`` if unknown.
    :param identity: what the consent is to, as ``protocol.consented_identity`` describes it; ``None`` if unknown.
    """

    owner: str  # ``sub`` of the resource owner
    client_id: str
    scope: str
    first_granted_at: float
    granted_at: float
    address: str | None
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentWithLastUse:
    """A remembered consent, and when a grant of the same owner to the same client was last used; ``None`` if never."""

    consent: Consent
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class GrantedScope:
    """The scope of one or more grants of an owner to a client. Times are seconds since 1970.

    :param claims: individually requested claims (OpenID Connect Core §5.5) as JSON; ``None`` if there are none.
    """

    client_id: str
    scope: str
    claims: str | None
    first_granted_at: float
    last_used_at: float | None


_COLUMNS = columns_of(consents, Consent)
_FIND = Statement(
    select(*_COLUMNS).where(consents.c.owner == bindparam("owner"), consents.c.client_id == bindparam("client_id"))
)
_LIST_BY_OWNER = Statement(
    select(*_COLUMNS, func.max(grants.c.last_used_at))
    .join_from(
        consents,
        grants,
        (grants.c.owner == consents.c.owner) & (grants.c.client_id == consents.c.client_id),
        isouter=True,
    )
    .where(consents.c.owner == bindparam("owner"))
    .group_by(*_COLUMNS)
    .order_by(consents.c.granted_at.desc())
)
_LIST_ACTIVE_GRANTS = Statement(
    select(
        grants.c.client_id,
        grants.c.scope,
        grants.c.claims,
        func.min(grants.c.created_at),
        func.max(grants.c.last_used_at),
    )
    .where(grants.c.owner == bindparam("owner"), grants.c.revoked_at.is_(None), grants.c.expires_at > bindparam("now"))
    .group_by(grants.c.client_id, grants.c.scope, grants.c.claims)
    .order_by(grants.c.client_id)
)
_REMOVE = Statement(
    delete(consents).where(consents.c.owner == bindparam("owner"), consents.c.client_id == bindparam("client_id"))
)
_REMOVE_ALL_OF_OWNER = Statement(delete(consents).where(consents.c.owner == bindparam("of_owner")))
_LIST_IDENTITIES = Statement(
    select(consents.c.identity)
    .where(consents.c.client_id == bindparam("client_id"), consents.c.identity.is_not(None))
    .distinct()
)
_REPLACE_IDENTITY = Statement(
    update(consents)
    .where(consents.c.client_id == bindparam("of_client"), consents.c.identity == bindparam("old"))
    .values(identity=bindparam("new"))
)
_REMOVE_ALL_OF_CLIENT = Statement(delete(consents).where(consents.c.client_id == bindparam("of_client")))
_IS_OF_OWNER_AND_CLIENT = (consents.c.owner == bindparam("of_owner"), consents.c.client_id == bindparam("of_client"))
_FORGET_SCOPES = Statement(
    update(consents)
    .where(*_IS_OF_OWNER_AND_CLIENT, func.coalesce(consents.c.identity, "") == bindparam("known", type_=Text))
    .values(scope="")
)
_ADD_SCOPE = Statement(
    update(consents)
    .where(*_IS_OF_OWNER_AND_CLIENT, not_(has_scope(consents.c.scope)))
    .values(scope=func.trim(consents.c.scope.concat(bindparam("padded"))))
)
_REMOVE_SCOPE = Statement(
    update(consents).where(*_IS_OF_OWNER_AND_CLIENT).values(scope=without_scope(consents.c.scope))
)


def _remember(insert: Any) -> Executable:
    insert_row = insert(consents).values({column.name: bindparam(column.name) for column in _COLUMNS})
    replaced = {name: insert_row.excluded[name] for name in ("granted_at", "address")}
    is_as_read = consents.c.identity == bindparam("identity_as_read", type_=Text)
    replaced["identity"] = case(
        (is_as_read, bindparam("extended_identity", type_=Text)), else_=insert_row.excluded.identity
    )
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[consents.c.owner, consents.c.client_id], set_=replaced
    )
    return statement


_REMEMBER = Statement(_remember)

# The consent is as the caller has read it: it was not withdrawn, and lost or got no scope.
IS_AS_READ = and_(
    consents.c.owner == bindparam("owner"),
    consents.c.client_id == bindparam("client_id"),
    consents.c.scope == bindparam("consented"),
    consents.c.identity == bindparam("identity"),
)


def values_as_read(consent: Consent) -> dict[str, Any]:
    """Return the values of the parameters of ``IS_AS_READ``. The consent must have an identity."""
    return {
        "owner": consent.owner,
        "client_id": consent.client_id,
        "consented": consent.scope,
        "identity": consent.identity,
    }


def find(store: Store, owner: str, client_id: str) -> Consent | None:
    """Return the remembered consent of the owner to the client, or ``None`` if there is none."""
    row = store.fetch_one(_FIND(owner=owner, client_id=client_id))
    return Consent(*row) if row else None


def list_by_owner(store: Store, owner: str) -> list[ConsentWithLastUse]:
    """Return the owner's remembered consents, the latest first, each with the time of its last use."""
    return [ConsentWithLastUse(Consent(*row[:-1]), row[-1]) for row in store.fetch_all(_LIST_BY_OWNER(owner=owner))]


def list_granted(store: Store, owner: str, now: float) -> list[GrantedScope]:
    """Return what the owner's grants that are neither revoked nor expired allow, without duplicates."""
    return [GrantedScope(*row) for row in store.fetch_all(_LIST_ACTIVE_GRANTS(owner=owner, now=now))]


def remember(consent: Consent, previous: Consent | None = None, extended_identity: str | None = None) -> BoundStatement:
    """Return the SQL statement, not yet run, that stores a consent of an owner to a client.

    If the owner has consented to the client before, ``granted_at``, address and identity of that consent are replaced;
    its ``first_granted_at`` and its scope stay. ``add_scope`` and ``remove_scope`` change the scope.

    :param previous: the consent before, as it was read.
    :param extended_identity: the identity to store if that of the stored consent is still that of ``previous``; else
        that of ``consent`` is stored, so that nothing is remembered that was withdrawn meanwhile.

    The statement locks the consent until the end of the transaction. A transaction that also changes grants of this
    owner and client runs it first: then of two such transactions the second sees the grants of the first.
    """
    identity_as_read = previous.identity if previous else None
    values = {column.name: getattr(consent, column.name) for column in _COLUMNS}
    return _REMEMBER(**values, identity_as_read=identity_as_read, extended_identity=extended_identity)


def forget_scopes(consent: Consent) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes all scopes from a remembered consent.

    It changes nothing if the consent is to another identity of the client than ``consent``, which the caller has read.
    Run it before ``remember``, which replaces the identity.
    """
    return _FORGET_SCOPES(of_owner=consent.owner, of_client=consent.client_id, known=consent.identity or "")


def add_scope(owner: str, client_id: str, name: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds one scope to a remembered consent, unless it has it already."""
    return _ADD_SCOPE(of_owner=owner, of_client=client_id, padded=f" {name} ")


def remove_scope(owner: str, client_id: str, name: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes one scope from a remembered consent."""
    return _REMOVE_SCOPE(of_owner=owner, of_client=client_id, padded=f" {name} ")


def remove(owner: str, client_id: str) -> BoundStatement:
    return _REMOVE(owner=owner, client_id=client_id)


def remove_all_of_owner(owner: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes all consents of a resource owner."""
    return _REMOVE_ALL_OF_OWNER(of_owner=owner)


def list_identities(store: Store, client_id: str) -> list[str]:
    """Return the different identities of a client that users have consented to."""
    return [row[0] for row in store.fetch_all(_LIST_IDENTITIES(client_id=client_id))]


def replace_identity(client_id: str, old: str, new: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that makes the consents to one identity of a client those to another."""
    return _REPLACE_IDENTITY(of_client=client_id, old=old, new=new)


def remove_all_of_client(client_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes the consents of all owners to a client."""
    return _REMOVE_ALL_OF_CLIENT(of_client=client_id)
