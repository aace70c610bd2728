"""Proof Key for Code Exchange (RFC 7636), S256 only (RFC 9700 §2.1.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from .errors import InvalidGrant, InvalidRequest
from .parameters import Parameters

_CODE_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # §4.1
_S256_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # §4.2


def parse_code_challenge(parameters: Parameters, *, required: bool) -> str | None:
    """The S256 challenge of an authorization request; None where none came and none is demanded.

    :raises InvalidRequest: where it is missing, malformed, or of a method other than S256 (``plain`` is also
        what an absent method means, §4.3).
    """
    challenge = parameters.get("code_challenge")
    method = parameters.get("code_challenge_method")
    if challenge is None:
        if required or method is not None:
            raise InvalidRequest("code_challenge is required (PKCE, S256)")
        return None
    if method != "S256":
        raise InvalidRequest("code_challenge_method must be S256")
    if not _S256_CHALLENGE.fullmatch(challenge):
        raise InvalidRequest("code_challenge must be 43 base64url characters")
    return challenge


def check_code_verifier(verifier: str | None, challenge: str | None) -> None:
    """Refuse unless the verifier answers the challenge.

    :raises InvalidGrant: on a mismatch, and on a verifier where no challenge was made: that is how a dropped
        challenge shows (RFC 9700 §2.1.1).
    """
    if challenge is None:
        if verifier is not None:
            raise InvalidGrant("code_verifier without code_challenge")
        return
    if verifier is None:
        raise InvalidGrant("code_verifier is required")
    if not _CODE_VERIFIER.fullmatch(verifier):
        raise InvalidGrant("code_verifier must be 43 to 128 unreserved characters")
    if not hmac.compare_digest(s256(verifier), challenge):
        raise InvalidGrant("code_verifier does not match code_challenge")


def s256(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
