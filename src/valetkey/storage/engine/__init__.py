"""Database access: drivers for SQLite and PostgreSQL, connections, SQL statements and transactions."""
