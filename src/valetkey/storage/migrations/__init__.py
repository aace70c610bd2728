"""Alembic migration scripts, run by ``valetkey.storage.schema.upgrade_schema``."""
