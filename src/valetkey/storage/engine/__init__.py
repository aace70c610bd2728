"""Database access below the tables: drivers, connections, statements and transactions."""
