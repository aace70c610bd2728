"""Rate limits. Most tests run with each counter backend: memory, SQLite, PostgreSQL and Redis."""
