"""Add indexes for statements that would read a whole table, and block other writes while they do."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_INDEXES = (
    ("valetkey_client_secrets", "expires_at"),
    ("valetkey_consents", "client_id"),
    ("valetkey_device_codes", "client_id"),
    ("valetkey_grants", "client_id"),
    ("valetkey_mail_links", "sub"),
    ("valetkey_personal_access_tokens", "grant_id"),
    ("valetkey_sessions", "expires_at"),
)


def upgrade() -> None:
    for table, column in _INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])
