"""Store what the invariants of revocation, consent and the audit log need; one function for each area.

Each function does nothing if the database has its columns: they were part of revision 0003 before.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from valetkey.protocol.client_identity import describe_identity

revision = "0004"
down_revision = "0003"

_CLIENTS = sa.table("valetkey_clients", sa.column("client_id"), sa.column("policy"), sa.column("metadata"))
_CONSENTS = sa.table("valetkey_consents", sa.column("owner"), sa.column("client_id"), sa.column("identity"))

_GRANTS = sa.table("valetkey_grants", sa.column("client_id"), sa.column("auth_method"))


def upgrade() -> None:
    _change_feed()
    _consents()
    _audit()
    _accounts()


def _has_column(table: str, name: str) -> bool:
    return any(column["name"] == name for column in sa.inspect(op.get_bind()).get_columns(table))


def _change_feed() -> None:
    """Make the order of the change feed independent of clocks; keep one row for each kind and subject, the last."""
    if _has_column("valetkey_revocations", "transaction_id"):
        return
    op.execute(
        "DELETE FROM valetkey_revocations WHERE revocation_id NOT IN "
        "(SELECT max(revocation_id) FROM valetkey_revocations GROUP BY kind, subject)"
    )
    if op.get_context().dialect.name == "sqlite":
        _rebuild_change_feed_with_autoincrement()
    else:
        op.drop_index("ix_valetkey_revocations_at", "valetkey_revocations")
        op.execute(
            "ALTER TABLE valetkey_revocations "
            "ADD COLUMN transaction_id bigint DEFAULT (pg_current_xact_id()::text::bigint)"
        )
    op.create_index("ix_valetkey_revocations_transaction_id", "valetkey_revocations", ["transaction_id"])
    op.create_index("valetkey_revocations_of_subject", "valetkey_revocations", ["kind", "subject"], unique=True)


def _rebuild_change_feed_with_autoincrement() -> None:
    """Copy the rows of the change feed to a table whose ids SQLite never uses again."""
    op.create_table(
        "valetkey_revocations_new",
        sa.Column("revocation_id", sa.Integer(), primary_key=True, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=True),
        sqlite_autoincrement=True,
    )
    op.execute(
        "INSERT INTO valetkey_revocations_new (revocation_id, kind, subject, at, expires_at) "
        "SELECT revocation_id, kind, subject, at, expires_at FROM valetkey_revocations"
    )
    op.drop_table("valetkey_revocations")
    op.rename_table("valetkey_revocations_new", "valetkey_revocations")
    op.create_index("ix_valetkey_revocations_expires_at", "valetkey_revocations", ["expires_at"])
    op.execute(  # readers take the position from this row, which SQLite would add with the first entry
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'valetkey_revocations', 0 "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'valetkey_revocations')"
    )


def _consents() -> None:
    """Remember which client identity a consent was given to, and how the client of a grant authenticated.

    What is stored already gets the present identity, so that nobody is asked again. A client that describes itself in
    a metadata document has none in the database. Consents to clients that were removed are deleted.
    """
    if _has_column("valetkey_grants", "auth_method"):
        return
    op.add_column("valetkey_consents", sa.Column("identity", sa.Text(), nullable=True))
    op.add_column("valetkey_grants", sa.Column("auth_method", sa.Text(), nullable=True))
    connection = op.get_bind()
    connection.execute(
        sa.delete(_CONSENTS).where(
            _CONSENTS.c.client_id.not_in(sa.select(_CLIENTS.c.client_id)), _CONSENTS.c.client_id.not_like("http%://%")
        )
    )
    consents = connection.execute(
        sa.select(_CONSENTS.c.owner, _CLIENTS).join_from(
            _CONSENTS, _CLIENTS, _CONSENTS.c.client_id == _CLIENTS.c.client_id
        )
    ).all()
    rows = [
        {"of_owner": owner, "of_client": client_id, "shown": describe_identity(client_id, policy, json.loads(text))}
        for owner, client_id, policy, text in consents
        if "redirect_uris" in text  # else the client's row only approves a client that has a metadata document
    ]
    if rows:
        fill_in = sa.update(_CONSENTS).where(
            _CONSENTS.c.owner == sa.bindparam("of_owner"), _CONSENTS.c.client_id == sa.bindparam("of_client")
        )
        connection.execute(fill_in.values(identity=sa.bindparam("shown")), rows)
    is_postgresql = op.get_context().dialect.name == "postgresql"
    metadata = (sa.cast if is_postgresql else sa.type_coerce)(_CLIENTS.c.metadata, sa.JSON)
    auth_method = sa.select(metadata["token_endpoint_auth_method"].as_string()).where(
        _CLIENTS.c.client_id == _GRANTS.c.client_id, metadata["redirect_uris"].as_string().is_not(None)
    )
    op.execute(sa.update(_GRANTS).values(auth_method=auth_method.scalar_subquery()))


def _audit() -> None:
    """Count failed sign-ins and client authentications."""
    if _has_column("valetkey_audit", "count_key"):
        return
    op.add_column("valetkey_audit", sa.Column("count", sa.Integer(), nullable=True))
    op.add_column("valetkey_audit", sa.Column("count_key", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_valetkey_audit_count_key"), "valetkey_audit", ["count_key"], unique=True)


def _accounts() -> None:
    """Store the last sign-in, and whether the owner has reviewed other access after a reset of the password."""
    if _has_column("valetkey_accounts", "unreviewed_since"):
        return
    op.add_column("valetkey_accounts", sa.Column("signed_in_at", sa.Double(), nullable=True))
    op.add_column("valetkey_accounts", sa.Column("unreviewed_since", sa.Double(), nullable=True))
    op.execute("UPDATE valetkey_accounts SET signed_in_at = created_at")  # so that new browsers are reported
