"""Clients that we did not write complete the protocol against a running server."""
