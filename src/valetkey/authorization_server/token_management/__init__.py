"""Endpoints for issued tokens: introspection, revocation and leak reports."""
