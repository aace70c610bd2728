"""An ``id_token_hint`` that was posted, on its way through an address: sealed, for it tells of a person.

RP-Initiated Logout §2 and OpenID Connect Core §3.1.2.1 have clients post what must not be in a log or a history.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable

_ENCRYPTED_PREFIX = "sealed."  # no JWT begins so: it has two dots
_TTL_S = 600
_PURPOSE = "id_token_hint in an address"


def encrypt_hints(pairs: Iterable[tuple[str, str]], runtime: Runtime, now: float) -> list[tuple[str, str]]:
    """The parameters, fit for an address: whoever reads it learns nothing of the person."""
    return [(name, _encrypt_hint(value, runtime, now) if name == "id_token_hint" else value) for name, value in pairs]


def decrypt_hint(hint: str, runtime: Runtime, now: float) -> str | None:
    """The hint as the client sent it; None where it was sealed by somebody else, or over ten minutes ago."""
    if not hint.startswith(_ENCRYPTED_PREFIX):
        return hint
    try:
        data = base64.b64decode(hint.removeprefix(_ENCRYPTED_PREFIX), altchars=b"-_", validate=True)
        moment, _, opened = runtime.cipher.decrypt(data, _PURPOSE).decode().partition(" ")
    except (StoreUnavailable, binascii.Error, ValueError):
        return None
    return opened if 0 <= now - int(moment) <= _TTL_S else None


def _encrypt_hint(hint: str, runtime: Runtime, now: float) -> str:
    sealed = runtime.cipher.encrypt(f"{int(now)} {hint}".encode(), _PURPOSE)
    return _ENCRYPTED_PREFIX + base64.urlsafe_b64encode(sealed).decode()
