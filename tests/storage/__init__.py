"""One contract, kept by SQLite and by PostgreSQL."""
