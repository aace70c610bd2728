"""The OAuth authorization server (RFC 6749 §1.1), with one module for each endpoint and each grant type."""
