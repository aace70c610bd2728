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
    """Return the S256 code challenge of an authorization request, or ``None`` if it has none and none is required.

    :param required: whether the client must use PKCE.
    :raises InvalidRequest: if the challenge is required but missing, is malformed, or has a method other than S256
        (an absent method means ``plain``, §4.3).
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
    """Check that a code verifier matches the code challenge.

    :param verifier: the ``code_verifier`` of the token request; ``None`` if it has none.
    :param challenge: the ``code_challenge`` of the authorization request; ``None`` if it had none.
    :raises InvalidGrant: if they do not match, or if there is a verifier but no challenge: an attacker may have
        removed the challenge from the authorization request (PKCE downgrade, RFC 9700 §2.1.1).
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
    """Return the S256 code challenge of a PKCE code verifier (RFC 7636 §4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
