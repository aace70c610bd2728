"""Registered clients and the digests of their secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Float, and_, bindparam, delete, exists, func, or_, select, update

from valetkey.protocol.client_identity import describe_identity
from valetkey.protocol.client_policy import CLIENT_POLICIES, ClientPolicy
from valetkey.protocol.scope import parse_scope

from .engine.records import InsertStatement, to_json
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import client_secrets, clients, registrations


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client. Times are seconds since 1970.

    :param policy: the rules for this kind of client, for example ``web`` or ``machine``.
    :param metadata: the client's metadata under the names of RFC 7591 §2.
    :param disabled_at: when the client was disabled; ``None`` if it is enabled.
    :param secret_digests: digest and expiry of each secret; an expiry of ``None`` means that it does not expire.
    :param scope: the scopes of its ``scope`` metadata; ``None`` if it has none, which means all scopes of the server.
    :param identity: what a consent of a user refers to, as ``describe_identity`` returns it.
    :param registered_itself: whether the client has chosen its metadata: by dynamic registration, or in a document.
    """

    client_id: str
    policy: ClientPolicy
    metadata: Mapping[str, Any]
    created_at: float
    disabled_at: float | None
    secret_digests: tuple[tuple[bytes, float | None], ...]
    scope: frozenset[str] | None
    grant_types: frozenset[str]
    redirect_uris: tuple[str, ...]
    identity: str
    registered_itself: bool

    @property
    def name(self) -> str:
        return str(self.metadata.get("client_name") or self.client_id)

    @property
    def auth_method(self) -> str:
        return str(self.metadata["token_endpoint_auth_method"])

    @property
    def is_public(self) -> bool:
        return self.auth_method == "none"


@dataclass(frozen=True, slots=True)
class _ClientRow:
    client_id: str
    policy: str
    metadata: str
    created_at: float
    disabled_at: float | None


@dataclass(frozen=True, slots=True)
class _SecretRow:
    digest: bytes
    client_id: str
    created_at: float
    expires_at: float | None


_COLUMNS = [
    clients.c.client_id,
    clients.c.policy,
    clients.c.metadata,
    clients.c.created_at,
    clients.c.disabled_at,
]
_REGISTERED_ITSELF = exists().where(registrations.c.client_id == clients.c.client_id)
_FIND = Statement(select(*_COLUMNS, _REGISTERED_ITSELF).where(clients.c.client_id == bindparam("client_id")))
_LIST_BY_POLICY = Statement(
    select(clients.c.client_id, clients.c.metadata).where(
        clients.c.policy == bindparam("policy"), clients.c.disabled_at.is_(None)
    )
)
_ALL = Statement(select(*_COLUMNS, _REGISTERED_ITSELF).order_by(clients.c.created_at))
_LIST_SECRETS = Statement(
    select(client_secrets.c.digest, client_secrets.c.expires_at).where(
        client_secrets.c.client_id == bindparam("client_id"),
        or_(client_secrets.c.expires_at.is_(None), client_secrets.c.expires_at > bindparam("now")),
    )
)


def _add(insert: Any) -> Executable:
    addition = insert(clients).values({name: bindparam(name) for name in _ClientRow.__slots__})
    statement: Executable = addition.on_conflict_do_nothing()
    return statement


_ADD = Statement(_add)
_ADD_SECRET = InsertStatement(client_secrets, _SecretRow)
# The row is as the caller has read it: no other process has changed, disabled or enabled the client since.
IS_AS_READ = and_(
    clients.c.client_id == bindparam("wanted"),
    clients.c.policy == bindparam("policy_as_read"),
    clients.c.metadata == bindparam("metadata_as_read"),
    func.coalesce(clients.c.disabled_at, 0.0) == bindparam("disabled_at_as_read", type_=Float),
)
_CHANGE = Statement(
    update(clients)
    .where(IS_AS_READ)
    .values(policy=bindparam("policy"), metadata=bindparam("metadata"), disabled_at=bindparam("disabled_at"))
)
_SET_DISABLED = Statement(
    update(clients).where(clients.c.client_id == bindparam("wanted")).values(disabled_at=bindparam("disabled_at"))
)
_EXPIRE_SECRETS = Statement(
    update(client_secrets)
    .where(
        client_secrets.c.client_id == bindparam("of"),
        or_(client_secrets.c.expires_at.is_(None), client_secrets.c.expires_at > bindparam("until")),
    )
    .values(expires_at=bindparam("until"))
)
_FIND_BY_SECRET = Statement(
    select(client_secrets.c.client_id).where(
        client_secrets.c.digest == bindparam("digest"),
        or_(client_secrets.c.expires_at.is_(None), client_secrets.c.expires_at > bindparam("now")),
    )
)
_EXPIRE_SECRET = Statement(
    update(client_secrets).where(client_secrets.c.digest == bindparam("wanted")).values(expires_at=bindparam("until"))
)
_DELETE = Statement(delete(clients).where(clients.c.client_id == bindparam("wanted")))
_DELETE_SECRETS = Statement(delete(client_secrets).where(client_secrets.c.client_id == bindparam("wanted")))


def find(store: Store, client_id: str, now: float) -> Client | None:
    """Return the client, also if it is disabled, with digests of its unexpired secrets; ``None`` if there is none."""
    row = store.fetch_one(_FIND(client_id=client_id))
    if row is None:
        return None
    secrets = store.fetch_all(_LIST_SECRETS(client_id=client_id, now=now))
    return _client_from_row(row, tuple((bytes(digest), expires_at) for digest, expires_at in secrets))


def find_by_secret(store: Store, digest: bytes, now: float) -> Client | None:
    """Return the client whose secret has this digest; ``None`` if no client has the secret, or if it has expired."""
    row = store.fetch_one(_FIND_BY_SECRET(digest=digest, now=now))
    return find(store, row[0], now) if row else None


def list_all(store: Store) -> list[Client]:
    """Return all clients, oldest first, including disabled ones; ``secret_digests`` is left empty."""
    return [_client_from_row(row, ()) for row in store.fetch_all(_ALL())]


def list_redirect_uris(store: Store, policy: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return pairs of client id and redirect URIs of all enabled clients with the client policy, e.g. ``browser``."""
    rows = store.fetch_all(_LIST_BY_POLICY(policy=policy))
    return [(client_id, tuple(json.loads(metadata).get("redirect_uris", ()))) for client_id, metadata in rows]


def add(
    client_id: str, policy: str, metadata: Mapping[str, Any], now: float, *, disabled_at: float | None = None
) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a client.

    It adds none if there is a client with this ``client_id`` already.
    """
    return _ADD(client_id=client_id, policy=policy, metadata=to_json(metadata), created_at=now, disabled_at=disabled_at)


def add_secret(client_id: str, digest: bytes, now: float, expires_at: float | None = None) -> BoundStatement:
    return _ADD_SECRET(_SecretRow(digest, client_id, now, expires_at))


def expire_secret(digest: bytes, expires_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that sets the expiry of the client secret with this digest."""
    return _EXPIRE_SECRET(wanted=digest, until=expires_at)


def expire_secrets(client_id: str, expires_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that lets a client's secrets expire at ``expires_at``.

    Secrets that expire earlier are not changed.
    """
    return _EXPIRE_SECRETS(of=client_id, until=expires_at)


def values_as_read(client: Client) -> dict[str, Any]:
    """Return the values of the parameters of ``IS_AS_READ``."""
    return {
        "wanted": client.client_id,
        "policy_as_read": client.policy.name,
        "metadata_as_read": to_json(client.metadata),
        "disabled_at_as_read": client.disabled_at or 0.0,
    }


def change(
    client: Client, *, policy: str | None = None, metadata: Mapping[str, Any], disabled_at: float | None
) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that writes a client's policy and metadata.

    It changes nothing if the client was changed, disabled, enabled or removed since it was read.

    :param client: the client as it was read.
    :param policy: name of the new client policy; ``None`` keeps the policy.
    :param disabled_at: when the client was disabled (seconds since 1970); ``None`` enables it.
    """
    return _CHANGE(
        **values_as_read(client),
        policy=policy or client.policy.name,
        metadata=to_json(metadata),
        disabled_at=disabled_at,
    )


def set_disabled(client_id: str, disabled_at: float | None) -> BoundStatement:
    """Return the SQL statement, not yet run, that disables a client, or enables it if ``disabled_at`` is ``None``."""
    return _SET_DISABLED(wanted=client_id, disabled_at=disabled_at)


def remove(client_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes a client, but not what belongs to it."""
    return _DELETE(wanted=client_id)


def remove_secrets(client_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes all secrets of a client."""
    return _DELETE_SECRETS(wanted=client_id)


def _client_from_row(row: Sequence[Any], secrets: tuple[tuple[bytes, float | None], ...]) -> Client:
    client_id, policy, metadata, created_at, disabled_at, registered_itself = row
    return make_client(
        client_id,
        CLIENT_POLICIES[policy],
        json.loads(metadata),
        created_at,
        disabled_at,
        secrets,
        registered_itself=bool(registered_itself),
    )


def make_client(
    client_id: str,
    policy: ClientPolicy,
    metadata: Mapping[str, Any],
    created_at: float,
    disabled_at: float | None = None,
    secrets: tuple[tuple[bytes, float | None], ...] = (),
    *,
    registered_itself: bool,
) -> Client:
    """Build a ``Client`` from its metadata, which must have been validated before.

    :param secrets: digest and expiry of each client secret (``None``: it does not expire).
    :param registered_itself: whether the client has chosen its metadata.
    """
    return Client(
        client_id,
        policy,
        metadata,
        created_at,
        disabled_at,
        secrets,
        parse_scope(metadata["scope"]) if "scope" in metadata else None,
        frozenset(metadata.get("grant_types", ())),
        tuple(metadata.get("redirect_uris", ())),
        describe_identity(client_id, policy.name, metadata),
        registered_itself,
    )
