"""E-mail addresses (RFC 5322 §3.4.1, RFC 6531 §3.3): one mailbox, written in the one way by which it is known."""

from __future__ import annotations

import re

# Dot-atoms only. A comma would make two addresses of one, brackets and comments two spellings of one.
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_ADDRESS = re.compile(rf"{_ATOM}(\.{_ATOM})*@[\w-]+(\.[\w-]+)+")
_MAX_LENGTH = 254  # RFC 5321 §4.5.3.1.3


def is_email_address(text: str) -> bool:
    return len(text) <= _MAX_LENGTH and _ADDRESS.fullmatch(text) is not None
