"""Backends that store the counters of rate limits: memory, a mapped file, SQLite, PostgreSQL, Redis."""
