"""Tests of ``valetkey.web``: WSGI, Flask adapters and error responses."""
