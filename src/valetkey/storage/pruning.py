"""Retention rules, and SQL statements that remove rows no longer needed, so that tables do not grow without limit."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Table,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    not_,
    select,
    tuple_,
)

from .engine.statement import BoundStatement, Statement
from .tables import (
    access_tokens,
    assertions,
    audit,
    client_secrets,
    codes,
    device_codes,
    grants,
    idempotency_keys,
    initial_access_tokens,
    interactions,
    mail_links,
    outbox,
    personal_access_tokens,
    provider_requests,
    quotas,
    refresh_tokens,
    retry_answers,
    revocations,
    sessions,
    signing_keys,
    usage,
)
from .usage import HOUR_S

_DAY_S = 86400.0
MAX_ROWS_PER_BATCH = 5000  # rows in one statement: bounds how long it blocks other writes
_BEFORE: BindParameter[float] = bindparam("before")

# A grant is needed as long as its session is active: at the end of the session the client gets a logout token, even if
# the grant expired long before.
_SESSION_IS_ACTIVE = exists().where(
    sessions.c.sid == grants.c.sid, sessions.c.ended_at.is_(None), sessions.c.expires_at > _BEFORE
)
# A personal access token that a client created is valid only while the client's grant is: it needs the grant's row.
_HAS_PERSONAL_TOKEN = exists().where(
    personal_access_tokens.c.grant_id == grants.c.grant_id, personal_access_tokens.c.expires_at > _BEFORE
)

# table; rows that are no longer in use; seconds for which they are retained after that
_RETENTION_RULES: tuple[tuple[Table, ColumnElement[bool], float], ...] = (
    (interactions, interactions.c.expires_at < _BEFORE, 0.0),  # not retained: anonymous requests create these rows
    (provider_requests, provider_requests.c.expires_at < _BEFORE, 0.0),
    (codes, codes.c.expires_at < _BEFORE, _DAY_S),  # until then, a replayed code revokes its grant
    (device_codes, device_codes.c.expires_at < _BEFORE, _DAY_S),
    (refresh_tokens, refresh_tokens.c.expires_at < _BEFORE, _DAY_S),
    (retry_answers, retry_answers.c.expires_at < _BEFORE, 0.0),
    (access_tokens, access_tokens.c.expires_at < _BEFORE, 3600.0),
    (grants, and_(grants.c.expires_at < _BEFORE, not_(_SESSION_IS_ACTIVE), not_(_HAS_PERSONAL_TOKEN)), 7 * _DAY_S),
    (personal_access_tokens, personal_access_tokens.c.expires_at < _BEFORE, 90 * _DAY_S),
    (mail_links, mail_links.c.expires_at < _BEFORE, _DAY_S),
    (revocations, revocations.c.expires_at < _BEFORE, 60.0),
    (sessions, sessions.c.expires_at < _BEFORE, 90 * _DAY_S),  # until then, the browser is recognized
    (client_secrets, client_secrets.c.expires_at < _BEFORE, 0.0),
    (assertions, assertions.c.expires_at < _BEFORE, 60.0),
    (initial_access_tokens, initial_access_tokens.c.expires_at < _BEFORE, _DAY_S),
    (signing_keys, signing_keys.c.retired_at < _BEFORE, 30 * _DAY_S),
    (outbox, outbox.c.failed_at < _BEFORE, 30 * _DAY_S),
    (quotas, quotas.c.ends_at < _BEFORE, 35 * _DAY_S),
    (usage, usage.c.hour < cast(_BEFORE, BigInteger) // HOUR_S, 366 * _DAY_S),  # integers, or no index is used
    (idempotency_keys, idempotency_keys.c.expires_at < _BEFORE, 0.0),
)


def _batch_statements(table: Table, is_expired: ColumnElement[bool]) -> tuple[Statement, Statement]:
    """Return two SQL statements: the first counts the next batch of rows to be removed, the second removes them."""
    key = tuple(table.primary_key.columns)
    batch = select(*key).where(is_expired).limit(MAX_ROWS_PER_BATCH)
    count = select(func.count()).select_from(batch.subquery())
    remove = delete(table).where(key[0].in_(batch) if len(key) == 1 else tuple_(*key).in_(batch))
    if len(key) > 1:
        return Statement(count), Statement(remove)
    # If its statistics say that the table is empty, PostgreSQL compares each row with each row of the batch; with an
    # array it looks them up by key.
    remove_by_array = delete(table).where(key[0] == func.any(func.array(batch.scalar_subquery())))
    return Statement(count), Statement({"sqlite": remove, "postgresql": remove_by_array})


_STATEMENTS = tuple(
    (table.name, *_batch_statements(table, is_expired), retention_s)
    for table, is_expired, retention_s in _RETENTION_RULES
)
# The newest entry stays: SQLite would give its id to the next one, which `valetkey audit tail -f` would not find.
_IS_NOT_NEWEST = audit.c.audit_id < select(func.max(audit.c.audit_id)).scalar_subquery()
_PRUNE_AUDIT = _batch_statements(audit, and_(audit.c.at < _BEFORE, _IS_NOT_NEWEST))
_PRUNE_COUNTS = _batch_statements(audit, and_(audit.c.at < _BEFORE, audit.c.count.is_not(None), _IS_NOT_NEWEST))
_COUNT_RETENTION_DAYS = 30
_REMOVE_EXPIRED_RETRY_ANSWERS = Statement(delete(retry_answers).where(retry_answers.c.expires_at < _BEFORE))


def prune_statements(now: float, audit_retention_days: int = 0) -> list[tuple[str, BoundStatement, BoundStatement]]:
    """Return for each table that rows are removed from: its name and two SQL statements, not yet run.

    The first counts the next batch of rows that are no longer needed at ``now`` (seconds since 1970), the second
    removes it. A batch has at most ``MAX_ROWS_PER_BATCH`` rows; if it has that many, run both statements again.

    :param audit_retention_days: days for which the audit log is retained; 0: no limit. Counted failures are retained
        for 30 days at most.
    """
    count_days = min(audit_retention_days or _COUNT_RETENTION_DAYS, _COUNT_RETENTION_DAYS)
    audit_statements = [(audit.name, *_PRUNE_COUNTS, count_days * _DAY_S)]
    if audit_retention_days:
        audit_statements.append((audit.name, *_PRUNE_AUDIT, audit_retention_days * _DAY_S))
    return [
        (name, count(before=now - retention_s), remove(before=now - retention_s))
        for name, count, remove, retention_s in (*_STATEMENTS, *audit_statements)
    ]


def remove_expired_retry_answers(now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes expired copies of responses to refresh requests.

    The copies are stored for some seconds for clients that lose the response and retry.
    """
    return _REMOVE_EXPIRED_RETRY_ANSWERS(before=now)
