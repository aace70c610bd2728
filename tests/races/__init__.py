"""Simultaneous requests to several server processes for what may happen only once."""
