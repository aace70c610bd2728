"""Introspection, revocation and leak reports."""
