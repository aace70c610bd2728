"""The authorization server (RFC 6749 §1.1): a file for each endpoint and grant type."""
