"""Signing keys and encryption."""
