"""Secrets: a type that does not print, a form that a secret scanner knows, the digest that is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import zlib

# What a secret is for, as it stands in ``vk_<kind>_...``.
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
MAIL_LINK = "ml"  # proves that one reads an address
INITIAL_ACCESS_TOKEN = "ia"  # opens the registration of clients (RFC 7591 §1.2)
REGISTRATION_ACCESS_TOKEN = "ra"  # opens one client's own registration (RFC 7592 §1.2)


class Secret:
    """A code, token or password in hand. It does not print; ``reveal`` is the one way out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def digest(self) -> bytes:
        """SHA-256: what the store keeps of a random secret (a plain hash suffices for 200 bits and more)."""
        return hashlib.sha256(self._value.encode()).digest()

    def matches(self, digest: bytes) -> bool:
        return hmac.compare_digest(self.digest(), digest)

    def __repr__(self) -> str:
        return "<Secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


def generate_secret(kind: str) -> Secret:
    """A new secret ``vk_<kind>_<random><checksum>``: 44 random letters and digits, 6 of checksum."""
    random = _to_alphanumeric(secrets.token_bytes(33))
    return Secret(f"vk_{kind}_{random}{_checksum(kind, random)}")


def is_well_formed(text: str, kind: str) -> bool:
    """Whether the text can be a secret of this kind, told without a database."""
    prefix = f"vk_{kind}_"
    body = text[len(prefix) :]
    if not text.startswith(prefix) or len(body) != 50 or not body.isascii() or not body.isalnum():
        return False
    return body[44:] == _checksum(kind, body[:44])


def random_id(length: int = 22) -> str:
    """A public identifier: letters and digits, 5 bits or more each."""
    return _to_alphanumeric(secrets.token_bytes(length * 3 // 4 + 1))[:length]


def _to_alphanumeric(data: bytes) -> str:
    # base64 whose two signs fold into letters: a double click selects the whole of it, and at one
    # microsecond it costs a tenth of true base 62. Each character still carries at least 5 bits.
    return base64.b64encode(data, b"Aa").decode("ascii").rstrip("=")


def _checksum(kind: str, random: str) -> str:
    return _to_alphanumeric(zlib.crc32(f"{kind}_{random}".encode()).to_bytes(4, "big"))
