"""Store which users of providers can sign in to an account, the requests to providers, and how a session began."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name in ("issuer", "subject", "issuer_sid", "acr", "amr"):
        op.add_column("valetkey_sessions", sa.Column(name, sa.Text(), nullable=True))
    op.create_index("ix_valetkey_sessions_issuer_sid", "valetkey_sessions", ["issuer_sid"])
    op.create_index("valetkey_sessions_of_subject", "valetkey_sessions", ["subject", "issuer"])
    op.create_table(
        "valetkey_provider_requests",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("browser", sa.LargeBinary(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=True),
        sa.Column("next", sa.Text(), nullable=False),
        sa.Column("min_auth_time", sa.Double(), nullable=True),
        sa.Column("begun_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("digest"),
    )
    for name in ("browser", "expires_at"):
        op.create_index(f"ix_valetkey_provider_requests_{name}", "valetkey_provider_requests", [name])
    op.create_table(
        "valetkey_provider_links",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("linked_at", sa.Double(), nullable=False),
        sa.Column("signed_in_at", sa.Double(), nullable=True),
        sa.Column("tokens", sa.LargeBinary(), nullable=True),
        sa.Column("refreshing_until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("subject", "issuer"),
    )
    op.create_index("valetkey_provider_links_of_account", "valetkey_provider_links", ["sub", "issuer"], unique=True)
