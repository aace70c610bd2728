"""Helpers for a good API, each alone."""
