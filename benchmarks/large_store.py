"""Fill a SQLite database with a million clients and ten million tokens, and the grants of those tokens."""

from __future__ import annotations

import sqlite3
from pathlib import Path

CLIENTS, TOKENS = 1_000_000, 10_000_000
YEAR_S = 365 * 86400
_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :row_count)"
_METADATA = (
    '{"client_name":"Crowd","token_endpoint_auth_method":"client_secret_basic","grant_types":["client_credentials"]}'
)
_CLAIMS = (
    '{"iss":"https://id.example","sub":"crowd","aud":"https://id.example","client_id":"crowd","iat":1,"exp":2,'
    '"jti":"0123456789abcdefghijkl","scope":"profile"}'
)
_INSERTS = (  # kind of row, which has a number of rows, and the INSERT
    (
        "clients",
        "valetkey_clients(client_id, policy, metadata, created_at) SELECT 'crowd-' || n, 'machine', :metadata, 0",
    ),
    ("clients", "valetkey_client_secrets(digest, client_id, created_at) SELECT randomblob(32), 'crowd-' || n, 0"),
    (
        "clients",
        "valetkey_grants(grant_id, client_id, owner, scope, resources, created_at, expires_at) "
        "SELECT hex(randomblob(11)), 'crowd-' || n, 'person-' || (n % 100000), 'profile', '[]', 0, :until",
    ),
    (
        "tokens",
        "valetkey_refresh_tokens(digest, grant_id, issued_at, expires_at) "
        "SELECT randomblob(32), hex(randomblob(11)), 0, :until + n",
    ),
    ("tokens", "valetkey_access_tokens(digest, claims, expires_at) SELECT randomblob(32), :claims, :until + n"),
)


def fill_store(path: Path, *, now: float, clients: int = CLIENTS, tokens: int = TOKENS) -> None:
    """Fill a SQLite database; half of the tokens are refresh tokens, half opaque access tokens."""
    row_counts = {"clients": clients, "tokens": tokens // 2}
    values = {"metadata": _METADATA, "claims": _CLAIMS, "until": now + YEAR_S}
    with sqlite3.connect(path, isolation_level=None) as store:
        store.execute("PRAGMA synchronous = OFF")
        store.execute("PRAGMA cache_size = -4000000")  # 4 GB, because the digests are not in order
        indexes = store.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            store.execute(f'DROP INDEX "{name}"')  # created again after all inserts, which is faster
        for kind, insert in _INSERTS:
            table = insert.partition("(")[0]
            print(f"{row_counts[kind]:,} rows into {table}", flush=True)
            parameters = {name: value for name, value in values.items() if f":{name}" in insert}
            into, _, select = insert.partition(" SELECT ")
            store.execute(
                f"INSERT INTO {into} {_NUMBERS} SELECT {select} FROM numbers",
                {**parameters, "row_count": row_counts[kind]},
            )
        for _, sql in indexes:
            store.execute(sql)
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
