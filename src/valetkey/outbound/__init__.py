"""Outbound traffic: HTTP with SSRF protection, other servers' keys, mail, and the worker that runs background jobs."""
