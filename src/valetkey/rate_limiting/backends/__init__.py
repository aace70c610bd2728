"""Where counters of rate limits are stored: memory, a mapped file, SQLite, PostgreSQL, Redis."""
