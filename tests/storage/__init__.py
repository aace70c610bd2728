"""Contract tests of ``valetkey.storage``: each runs on SQLite and on PostgreSQL."""
