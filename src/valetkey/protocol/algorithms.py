"""The signature algorithms that are served (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864)."""

from __future__ import annotations

DEFAULT_SIGNING_ALGORITHMS = ("ES256", "RS256")  # of access tokens and of ID tokens, where nothing else was registered
SIGNING_ALGORITHMS = ("RS256", "ES256", "PS256", "Ed25519", "EdDSA")  # what we sign with
ASSERTION_ALGORITHMS = ("ES256", "Ed25519", "EdDSA", "PS256", "RS256")  # what clients may sign with
