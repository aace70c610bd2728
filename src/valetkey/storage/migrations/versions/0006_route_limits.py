"""Create the table for the rate limit counters of API routes and plans; on PostgreSQL it is unlogged (no disk write).

Updates do not change an index, and half of each page is free for them, so that vacuum has little to do.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "valetkey_route_limits",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tat", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        prefixes=["UNLOGGED"] if is_postgresql else [],
    )
    if is_postgresql:
        op.execute("ALTER TABLE valetkey_route_limits SET (fillfactor = 50)")
