"""Connections, transactions and drivers below the tables."""
