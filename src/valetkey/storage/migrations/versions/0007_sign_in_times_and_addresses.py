"""Store when a session began and, if the provider says it, when its user signed in; allow accounts without an address.

Of an existing session of a provider, only the time that counted as the sign-in is known. It is used for both.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE valetkey_sessions RENAME COLUMN auth_time TO began_at")
    op.add_column("valetkey_sessions", sa.Column("auth_time", sa.Double(), nullable=True))
    op.execute("UPDATE valetkey_sessions SET auth_time = began_at")
    with op.batch_alter_table("valetkey_accounts") as accounts:  # SQLite copies the table
        accounts.alter_column("email", existing_type=sa.Text(), nullable=True)
    op.add_column(
        "valetkey_provider_requests", sa.Column("takes_address", sa.Integer(), nullable=False, server_default="0")
    )
