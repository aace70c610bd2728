"""Migration 0002: add tables for plans, quotas, usage, personal access tokens, idempotency keys and mail links.

Also add the column ``email_verified_at`` of accounts, and an index to find a browser's pending
authorization requests (interactions).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "valetkey_idempotency_keys",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(op.f("ix_valetkey_idempotency_keys_expires_at"), "valetkey_idempotency_keys", ["expires_at"])
    op.create_table(
        "valetkey_personal_access_tokens",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("reminded", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("token_id"),
        sa.UniqueConstraint("digest"),
    )
    for column in ("owner", "expires_at"):
        op.create_index(
            op.f(f"ix_valetkey_personal_access_tokens_{column}"), "valetkey_personal_access_tokens", [column]
        )
    op.create_table(
        "valetkey_quotas",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("quota", sa.Text(), nullable=False),
        sa.Column("begins_at", sa.Double(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "quota", "begins_at"),
    )
    op.create_index(op.f("ix_valetkey_quotas_ends_at"), "valetkey_quotas", ["ends_at"])
    op.create_table(
        "valetkey_subscriptions",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=True),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("client_id"),
    )
    op.create_table(
        "valetkey_usage",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "client_id", "route", "status"),
    )
    op.create_index(op.f("ix_valetkey_interactions_browser"), "valetkey_interactions", ["browser"])
    op.add_column("valetkey_accounts", sa.Column("email_verified_at", sa.Double(), nullable=True))
    op.create_table(
        "valetkey_mail_links",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("digest"),
    )
    for column in ("email", "expires_at"):
        op.create_index(op.f(f"ix_valetkey_mail_links_{column}"), "valetkey_mail_links", [column])
