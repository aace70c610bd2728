"""Alembic's environment script, which runs the migrations on the connection that ``upgrade_schema`` passes."""

from __future__ import annotations

from alembic import context

from valetkey.storage.engine.transaction import SCHEMA_VERSION_TABLE
from valetkey.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=SCHEMA_VERSION_TABLE,
)
context.run_migrations()
