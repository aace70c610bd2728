"""Outbound traffic: guarded HTTP requests, the keys of other servers, mail, and the worker that runs queued jobs."""
