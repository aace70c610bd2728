"""What may be forgotten, so that tables do not grow for ever."""

from __future__ import annotations

from sqlalchemy import BindParameter, ColumnElement, Table, and_, bindparam, delete, exists, func, not_, select, tuple_

from .engine.statement import BoundStatement, Statement
from .tables import (
    access_tokens,
    assertions,
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
MAX_ROWS_PER_BATCH = 5000  # rows: a writer waits no longer than for these
_BEFORE: BindParameter[float] = bindparam("before")

# A client is told of the end of the sign-in in which it got a grant, also when that grant is long over.
_SESSION_IS_ACTIVE = exists().where(
    sessions.c.sid == grants.c.sid, sessions.c.ended_at.is_(None), sessions.c.expires_at > _BEFORE
)
# A token that an app made for a person ends with the app's grant, and so must be able to look it up.
_HAS_PERSONAL_TOKEN = exists().where(
    personal_access_tokens.c.grant_id == grants.c.grant_id, personal_access_tokens.c.expires_at > _BEFORE
)

# table, what is over, how long it is kept after that (seconds)
_RETENTION_RULES: tuple[tuple[Table, ColumnElement[bool], float], ...] = (
    (interactions, interactions.c.expires_at < _BEFORE, 0.0),  # anybody can begin one
    (codes, codes.c.expires_at < _BEFORE, _DAY_S),  # so long a replay still ends its grant
    (device_codes, device_codes.c.expires_at < _BEFORE, _DAY_S),
    (refresh_tokens, refresh_tokens.c.expires_at < _BEFORE, _DAY_S),
    (retry_answers, retry_answers.c.expires_at < _BEFORE, 0.0),
    (access_tokens, access_tokens.c.expires_at < _BEFORE, 3600.0),
    (grants, and_(grants.c.expires_at < _BEFORE, not_(_SESSION_IS_ACTIVE), not_(_HAS_PERSONAL_TOKEN)), 7 * _DAY_S),
    (personal_access_tokens, personal_access_tokens.c.expires_at < _BEFORE, 90 * _DAY_S),
    (mail_links, mail_links.c.expires_at < _BEFORE, _DAY_S),
    (revocations, revocations.c.expires_at < _BEFORE, 60.0),
    (sessions, sessions.c.expires_at < _BEFORE, 90 * _DAY_S),  # so long a browser is known
    (client_secrets, client_secrets.c.expires_at < _BEFORE, 0.0),
    (assertions, assertions.c.expires_at < _BEFORE, 60.0),
    (initial_access_tokens, initial_access_tokens.c.expires_at < _BEFORE, _DAY_S),
    (signing_keys, signing_keys.c.retired_at < _BEFORE, 30 * _DAY_S),
    (outbox, outbox.c.failed_at < _BEFORE, 30 * _DAY_S),
    (quotas, quotas.c.ends_at < _BEFORE, 35 * _DAY_S),
    (usage, usage.c.hour < _BEFORE / HOUR_S, 366 * _DAY_S),
    (idempotency_keys, idempotency_keys.c.expires_at < _BEFORE, 0.0),
)


def _batch_statements(table: Table, is_expired: ColumnElement[bool]) -> tuple[Statement, Statement]:
    """How many rows the next batch has, and its removal."""
    key = tuple(table.primary_key.columns)
    batch = select(*key).where(is_expired).limit(MAX_ROWS_PER_BATCH)
    count = select(func.count()).select_from(batch.subquery())
    remove = delete(table).where(key[0].in_(batch) if len(key) == 1 else tuple_(*key).in_(batch))
    if len(key) > 1:
        return Statement(count), Statement(remove)
    # PostgreSQL compares each row with each of the batch where it last saw the table empty; an array it looks up.
    looked_up = delete(table).where(key[0] == func.any(func.array(batch.scalar_subquery())))
    return Statement(count), Statement({"sqlite": remove, "postgresql": looked_up})


_STATEMENTS = tuple((table.name, *_batch_statements(table, over), kept) for table, over, kept in _RETENTION_RULES)
_REMOVE_EXPIRED_RETRY_ANSWERS = Statement(delete(retry_answers).where(retry_answers.c.expires_at < _BEFORE))


def prune_statements(now: float) -> list[tuple[str, BoundStatement, BoundStatement]]:
    """For each table a query for the size of the next batch, and the statement that removes it."""
    return [(name, count(before=now - kept), remove(before=now - kept)) for name, count, remove, kept in _STATEMENTS]


def remove_expired_retry_answers(now: float) -> BoundStatement:
    """Answers kept for a retry are erased when no retry can come any more."""
    return _REMOVE_EXPIRED_RETRY_ANSWERS(before=now)
