"""One contract, kept by memory, SQLite, PostgreSQL and Redis."""
