"""Alembic scripts that create and upgrade the tables; ``valetkey.storage.schema.upgrade_schema`` runs them."""
