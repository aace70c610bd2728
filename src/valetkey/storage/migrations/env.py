"""Alembic environment; ``valetkey.storage.schema.upgrade_schema`` passes the connection."""

from __future__ import annotations

from alembic import context

from valetkey.storage.tables import SCHEMA_VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=SCHEMA_VERSION_TABLE,
)
context.run_migrations()
