"""Alembic's scripts, run by ``schema.upgrade``."""
