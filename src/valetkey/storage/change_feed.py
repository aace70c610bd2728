"""The change feed: rows that every process polls, so that revocations and changes take effect within a second.

A reader gets every committed row, however long its commit took: neither a clock nor the order of ids decides.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Double,
    Executable,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    column,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
)

from .engine.statement import WRITE_TIME, BoundStatement, Statement
from .engine.store import Store
from .engine.transaction import Transaction
from .grants import UNREVOKED_OF_OWNER_AND_CLIENT
from .revocation_check import lock_for_revocation
from .tables import grants, revocations

# "token", "grant": this token or grant is revoked for good. "client", "owner", "all": every token of the client, of the
# resource owner, or of the server is revoked if the process that issued it had not read this row. "changed" revokes
# nothing: cached values of the subject (a client id, "grant" with a space and its id, "keys" or "resources") are stale
# and must be read again. "scope": a grant has lost a scope for good, and its tokens with this scope are revoked; the
# subject is the grant's id, a space and the scope's name.
ChangeKind = Literal["token", "grant", "scope", "client", "owner", "all", "changed"]

# An access token lives for 24 hours at most, whatever the setting was when it was issued. The margin is for a clock
# that is wrong for a while, by 14 hours at most if it takes the local time for UTC: rows that are pruned by it may be
# needed when it is corrected.
_CLOCK_MARGIN_S = 15 * 3600
RETENTION_S = 24 * 3600 + _CLOCK_MARGIN_S


class ChangeFeedEntry(NamedTuple):
    """A row of the change feed: what was revoked or changed.

    There is one row for each kind and subject. A newer revocation of the same subject replaces the row by one with a
    higher ``revocation_id``.

    :param subject: id of the token, grant or client, or the owner's ``sub``, as ``kind`` says.
    :param at: time of the write (seconds since 1970). It orders nothing: tokens of earlier versions are compared to it.
    """

    revocation_id: int
    kind: ChangeKind
    subject: str
    at: float


class FeedRead(NamedTuple):
    """The result of a read of the change feed.

    :param entries: the rows that were committed since the read before, or all rows.
    :param position: what to pass to the next read.
    :param is_complete: whether ``entries`` are all rows.
    """

    entries: list[ChangeFeedEntry]
    position: str
    is_complete: bool


_BEGINNING = {"sqlite": "0", "postgresql": "1:1:"}
_COLUMNS = (revocations.c.revocation_id, revocations.c.kind, revocations.c.subject, revocations.c.at)
_SEQUENCE = table("sqlite_sequence", column("name", Text), column("seq", Integer))
# On SQLite, commits are serial and ids grow: the position is the highest id that was ever used. On PostgreSQL, ids are
# not in the order of the commits: the position is the snapshot of the read, which says what was committed by then.
_READ = Statement(
    {
        "sqlite": select(_SEQUENCE.c.seq, *_COLUMNS)
        .select_from(_SEQUENCE)
        .outerjoin(revocations, revocations.c.revocation_id > cast(bindparam("since"), Integer))
        .where(_SEQUENCE.c.name == revocations.name)
        .order_by(revocations.c.revocation_id),
        "postgresql": select(literal_column("read.snapshot"), *_COLUMNS)
        .select_from(text("(SELECT pg_current_snapshot()::text AS snapshot) AS read"))
        .outerjoin(
            revocations,
            text(
                "valetkey_revocations.transaction_id >= pg_snapshot_xmin(:since ::pg_snapshot)::text::bigint AND NOT "
                "pg_visible_in_snapshot(valetkey_revocations.transaction_id::text::xid8, :since ::pg_snapshot)"
            ),
        )
        .order_by(revocations.c.revocation_id),
    }
)


# Taken under the lock of the row that is replaced: the ids of one subject are in the order of the commits.
_NEXT_ID: ColumnElement[int] = literal_column(
    "nextval(pg_get_serial_sequence('valetkey_revocations', 'revocation_id')::regclass)"
)


class AnnouncingStatement(Statement):
    """A statement that adds entries to the change feed."""

    __slots__ = ()


def insert_entries(entries: Select[Any]) -> AnnouncingStatement:
    """Return a statement that adds entries to the change feed, and replaces older ones with the same kind and subject.

    :param entries: selects kind, subject, time and expiry.
    """
    names = ["kind", "subject", "at", "expires_at"]
    replace = insert(revocations).prefix_with("OR REPLACE").from_select(names, entries)  # the new row has a new id

    def upsert(insert_with_conflict: Any) -> Executable:
        inserted = insert_with_conflict(revocations).from_select(names, entries)
        upserted: Executable = inserted.on_conflict_do_update(
            index_elements=[revocations.c.kind, revocations.c.subject],
            set_={
                "revocation_id": _NEXT_ID,
                "transaction_id": literal_column("pg_current_xact_id()::text::bigint"),
                "at": inserted.excluded.at,
                "expires_at": inserted.excluded.expires_at,
            },
        )
        return upserted

    return AnnouncingStatement({"sqlite": replace, "postgresql": upsert})


def insert_entries_for(
    kind: ChangeKind, subject: ColumnElement[str], condition: ColumnElement[bool]
) -> AnnouncingStatement:
    """Return a statement that adds an entry to the change feed for each row of a table that meets a condition."""
    return insert_entries(select(literal(kind), subject, WRITE_TIME, WRITE_TIME + RETENTION_S).where(condition))


_ADD = insert_entries(
    select(cast(bindparam("kind"), Text), cast(bindparam("subject"), Text), WRITE_TIME, WRITE_TIME + RETENTION_S)
)
_ADD_TOKEN = insert_entries(
    select(
        literal("token"),
        cast(bindparam("subject"), Text),
        WRITE_TIME,
        cast(bindparam("token_expires_at"), Double) + _CLOCK_MARGIN_S,
    )
)
_ADD_FOR_UNREVOKED_GRANTS = insert_entries_for("grant", grants.c.grant_id, UNREVOKED_OF_OWNER_AND_CLIENT)
_SKIP_IDS = Statement(
    {
        "sqlite": text(
            "UPDATE sqlite_sequence SET seq = max(seq, CAST(:write_time * 1000 AS INTEGER)) "
            "WHERE name = 'valetkey_revocations'"
        ),
        "postgresql": text(
            "SELECT setval(sequence, greatest(nextval(sequence), CAST(:write_time * 1000 AS bigint))) FROM "
            "(SELECT pg_get_serial_sequence('valetkey_revocations', 'revocation_id')::regclass AS sequence) AS feed"
        ),
    }
)
# SQL statement for PostgreSQL. Transaction ids are those of one server: rows that were restored or replicated from
# another one may have ids that this one has not reached. No snapshot contains them: each read would return them.
RENUMBER_RESTORED_ROWS = text(
    "UPDATE valetkey_revocations SET transaction_id = pg_current_xact_id()::text::bigint "
    "WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
)


def read(store: Store, since: str | None) -> FeedRead:
    """Return the entries that were committed since an earlier read, each once, with the newest last.

    :param since: the position that the earlier read returned; ``None`` to read all entries. All entries are returned
        too if the database was replaced by an older copy since.
    :raises StoreUnavailable: if the database cannot be read.
    """
    position = since or _BEGINNING[store.dialect]
    rows = store.fetch_all(_READ(since=position))
    read_up_to = str(rows[0][0]) if rows else "0"
    if since is not None and _last_id(read_up_to) < _last_id(since):
        return read(store, None)
    return FeedRead([ChangeFeedEntry(*row[1:]) for row in rows if row[1] is not None], read_up_to, since is None)


def _last_id(position: str) -> int:
    """Return the highest row id (SQLite) or transaction id (PostgreSQL) of a position, which never decreases."""
    return int(position.split(":")[1] if ":" in position else position)


def add(kind: ChangeKind, subject: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds an entry to the change feed.

    The entry is retained for 39 hours: longer than any access token lives that was issued before. Use ``add_token`` for
    an access token.

    :param kind: what is revoked or changed, such as ``grant`` or ``client``.
    :param subject: id of the token, grant or client, or the owner's ``sub``, depending on ``kind``.
    """
    locks = (lock_for_revocation(kind, subject),) if kind in {"client", "owner", "all"} else ()
    return BoundStatement(_ADD, {"kind": kind, "subject": subject}, locks)


def add_token(jti: str, expires_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that announces the revocation of one access token.

    :param expires_at: when the token expires (seconds since 1970). The entry is retained for 15 hours longer.
    """
    return _ADD_TOKEN(subject=jti, token_expires_at=expires_at)


def add_for_unrevoked_grants(owner: str, client_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that announces the revocation of all grants of an owner to a client.

    It adds a change feed entry of the kind ``grant`` for each of these grants that is not revoked. In a transaction it
    must come before the statement that revokes them, since it selects unrevoked ones.
    """
    return _ADD_FOR_UNREVOKED_GRANTS(of_owner=owner, of_client=client_id)


def skip_ids() -> BoundStatement:
    """Return the SQL statement, not yet run, that leaves out ids that may have been used after a backup was made.

    Run it after the database was restored from a backup: the ids of new entries must differ from those that tokens
    issued after the backup contain. The next id is the number of milliseconds since 1970, or higher.
    """
    return _SKIP_IDS()


def announces(transaction: Transaction) -> bool:
    """Return whether a transaction may add an entry to the change feed."""
    return any(isinstance(bound.statement, AnnouncingStatement) for bound in transaction.statements())
