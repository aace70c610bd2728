"""SQLAlchemy's registry of all tables, for migrations and tests."""

from __future__ import annotations

from sqlalchemy import MetaData

metadata = MetaData()
