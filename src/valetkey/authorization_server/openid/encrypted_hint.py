"""Encrypts the ``id_token_hint`` of a posted request before a redirect puts it into a URL, as it identifies a user.

RP-Initiated Logout §2 and OpenID Connect Core §3.1.2.1 allow clients to post a request so that its parameters appear
neither in server logs nor in the browser's history. A redirect that repeats them in its URL would expose them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from valetkey.authorization_server import texts
from valetkey.protocol.errors import InvalidRequest
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.tokens.encryption import Cipher

_ENCRYPTED_PREFIX = "sealed."  # no ID token begins like this: a JWT has two dots, an encrypted hint one
URL_TTL_S, FORM_TTL_S = 600, 86_400
_PURPOSE = "id_token_hint in an address"


def encrypt_hints(
    pairs: Iterable[tuple[str, str]], cipher: Cipher, now: float, ttl_s: float = URL_TTL_S
) -> list[tuple[str, str]]:
    """Return the parameters of a request with each ``id_token_hint`` encrypted, so that they can be put into a URL.

    :param now: seconds since 1970.
    :param ttl_s: for how many seconds ``decrypt_hint`` accepts the result: ``URL_TTL_S``, or ``FORM_TTL_S`` for a form
        that a user submits later.
    """
    return [
        (name, _encrypt_hint(value, cipher, now + ttl_s) if name == "id_token_hint" else value) for name, value in pairs
    ]


def decrypt_hint(hint: str, cipher: Cipher, now: float) -> str | None:
    """Return an ``id_token_hint`` as the client sent it; one that is not encrypted is returned unchanged.

    Return ``None`` if it cannot be decrypted with this server's keys.

    :raises InvalidRequest: if it was decrypted too late, after ``ttl_s``. The message is for the user.
    """
    if not hint.startswith(_ENCRYPTED_PREFIX):
        return hint
    try:
        data = base64.b64decode(hint.removeprefix(_ENCRYPTED_PREFIX), altchars=b"-_", validate=True)
        expires_at, _, decrypted = cipher.decrypt(data, _PURPOSE).decode().partition(" ")
    except (StoreUnavailable, binascii.Error, ValueError):
        return None
    if int(expires_at) < now:
        raise InvalidRequest(texts.EXPIRED_HINT)
    return decrypted


def _encrypt_hint(hint: str, cipher: Cipher, expires_at: float) -> str:
    encrypted = cipher.encrypt(f"{int(expires_at)} {hint}".encode(), _PURPOSE)
    return _ENCRYPTED_PREFIX + base64.urlsafe_b64encode(encrypted).decode()
