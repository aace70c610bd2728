"""Whole stories over HTTP, against servers in processes of their own and with a real browser."""
