"""Store which settings are in the code of the server's app, so that commands that need them are refused without it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "valetkey_served_as",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("code_settings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row"),
    )
