"""Secrets: a type that is never printed, a format that secret scanners recognize, and the digest that is stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import zlib

# Kinds of secrets: the middle part of ``vk_<kind>_...``.
AUTHORIZATION_CODE = "ac"
ACCESS_TOKEN = "at"
DEVICE_CODE = "dc"
REFRESH_TOKEN = "rt"
PERSONAL_ACCESS_TOKEN = "pat"
CLIENT_SECRET = "cs"
SESSION = "ss"
BROWSER = "br"
INTERACTION = "in"
DEVICE_INTERACTION = "di"
PROVIDER_STATE = "ps"  # the parameter state of an authorization request to a provider
MAIL_LINK = "ml"  # proves that the user receives mail at an address
INITIAL_ACCESS_TOKEN = "ia"  # allows clients to register (RFC 7591 §1.2)
REGISTRATION_ACCESS_TOKEN = "ra"  # allows a client to manage its own registration (RFC 7592 §1.2)


class Secret:
    """A code, token or password whose value is not shown when it is printed or logged; ``reveal`` returns the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret's value as text, for example to send it to the client."""
        return self._value

    def digest(self) -> bytes:
        """Return the secret's SHA-256 digest, which is stored instead of the secret.

        An unsalted fast hash is sufficient for random secrets of 200 bits or more.
        """
        return hashlib.sha256(self._value.encode()).digest()

    def matches(self, digest: bytes) -> bool:
        """Return whether this secret has the given stored digest, compared in constant time."""
        return hmac.compare_digest(self.digest(), digest)

    def __repr__(self) -> str:
        return "<Secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


def generate_secret(kind: str) -> Secret:
    """Generate a secret ``vk_<kind>_<random><checksum>``: 44 random letters and digits, then a checksum of 6.

    :param kind: the constant that says what the secret is for, such as ``ACCESS_TOKEN`` or ``SESSION``.
    """
    random = _to_alphanumeric(secrets.token_bytes(33))
    return Secret(f"vk_{kind}_{random}{_checksum(kind, random)}")


def derive_secret(kind: str, seed: str) -> Secret:
    """Return a secret that is the same for the same seed, in the format of ``generate_secret``.

    Use it if a repeated request must get the same secret again.

    :param seed: an HMAC under a key of this server, so that it cannot be guessed.
    """
    random = _to_alphanumeric(hashlib.sha512(seed.encode()).digest()[:33])
    return Secret(f"vk_{kind}_{random}{_checksum(kind, random)}")


def is_well_formed(text: str, kind: str) -> bool:
    """Return whether a text has the format and checksum of a secret; whether the secret exists is not checked.

    :param kind: the constant that says what the secret is for, such as ``ACCESS_TOKEN`` or ``SESSION``.
    """
    prefix = f"vk_{kind}_"
    body = text[len(prefix) :]
    if not text.startswith(prefix) or len(body) != 50 or not body.isascii() or not body.isalnum():
        return False
    return body[44:] == _checksum(kind, body[:44])


def random_id(length: int = 22) -> str:
    """Return a new random identifier, not secret, of ``length`` letters and digits with at least 5 random bits each."""
    return _to_alphanumeric(secrets.token_bytes(length * 3 // 4 + 1))[:length]


def derive_id(*parts: str) -> str:
    """Return an identifier of 22 letters and digits that is the same for the same parts, and unlike any other.

    Use it to recognize a repeated request: one of the parts is what the browser sent, another one is the user. No part
    can be chosen so that the result is the identifier of another object.
    """
    return _to_alphanumeric(hashlib.sha256(json.dumps(parts).encode()).digest())[:22]


def _to_alphanumeric(data: bytes) -> str:
    # Base64 with "+" and "/" replaced by letters, so that a double click selects the whole secret. It takes one
    # microsecond, a tenth of the time of true base 62. Each character still carries at least 5 bits.
    return base64.b64encode(data, b"Aa").decode("ascii").rstrip("=")


def _checksum(kind: str, random: str) -> str:
    return _to_alphanumeric(zlib.crc32(f"{kind}_{random}".encode()).to_bytes(4, "big"))
