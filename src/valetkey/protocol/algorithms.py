"""Signature algorithms that this server supports (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864)."""

from __future__ import annotations

# Algorithm of access tokens, and of ID tokens for clients that registered no other one.
DEFAULT_SIGNING_ALGORITHMS = ("ES256", "RS256")
SIGNING_ALGORITHMS = ("RS256", "ES256", "PS256", "Ed25519", "EdDSA")  # Valetkey can sign with these
ASSERTION_ALGORITHMS = ("ES256", "Ed25519", "EdDSA", "PS256", "RS256")  # clients may sign assertions with these
