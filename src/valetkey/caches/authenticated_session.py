"""Who was signed in, and what they had allowed an app, when it got a code without a question."""

from __future__ import annotations

from dataclasses import dataclass

from valetkey.protocol.resource_owner import Owner


@dataclass(frozen=True, slots=True)
class AuthenticatedSession:
    """As it was read once; whether it is so still is for the claim on the next code to find out."""

    session_digest: bytes  # the digest of the sign-in
    owner: Owner
    consented_scope: str  # the scope that was allowed before, as it is stored
