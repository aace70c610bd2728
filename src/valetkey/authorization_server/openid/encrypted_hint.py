"""Encrypts the ``id_token_hint`` of a posted request before a redirect puts it into a URL, as it identifies a user.

RP-Initiated Logout §2 and OpenID Connect Core §3.1.2.1 allow clients to post a request so that its parameters appear
neither in server logs nor in the browser's history. A redirect that repeats them in its URL would expose them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.tokens.encryption import Cipher

_ENCRYPTED_PREFIX = "sealed."  # no ID token begins like this: a JWT has two dots, an encrypted hint one
_TTL_S = 600
_PURPOSE = "id_token_hint in an address"


def encrypt_hints(pairs: Iterable[tuple[str, str]], cipher: Cipher, now: float) -> list[tuple[str, str]]:
    """Return the parameters of a request with each ``id_token_hint`` encrypted, so that they can be put into a URL."""
    return [(name, _encrypt_hint(value, cipher, now) if name == "id_token_hint" else value) for name, value in pairs]


def decrypt_hint(hint: str, cipher: Cipher, now: float) -> str | None:
    """Return an ``id_token_hint`` as the client sent it; one that is not encrypted is returned unchanged.

    Return ``None`` if it cannot be decrypted with this server's keys, or was encrypted more than ten minutes ago.
    """
    if not hint.startswith(_ENCRYPTED_PREFIX):
        return hint
    try:
        data = base64.b64decode(hint.removeprefix(_ENCRYPTED_PREFIX), altchars=b"-_", validate=True)
        encrypted_at, _, decrypted = cipher.decrypt(data, _PURPOSE).decode().partition(" ")
    except (StoreUnavailable, binascii.Error, ValueError):
        return None
    return decrypted if 0 <= now - int(encrypted_at) <= _TTL_S else None


def _encrypt_hint(hint: str, cipher: Cipher, now: float) -> str:
    encrypted = cipher.encrypt(f"{int(now)} {hint}".encode(), _PURPOSE)
    return _ENCRYPTED_PREFIX + base64.urlsafe_b64encode(encrypted).decode()
