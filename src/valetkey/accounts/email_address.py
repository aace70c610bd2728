"""Validation of e-mail addresses (RFC 5322 §3.4.1, RFC 6531 §3.3): exactly one mailbox, in a unique spelling."""

from __future__ import annotations

import re

# Dot-atoms only: a comma could hide a second address; brackets and comments would allow several spellings of one.
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_ADDRESS = re.compile(rf"{_ATOM}(\.{_ATOM})*@[\w-]+(\.[\w-]+)+")
_MAX_LENGTH = 254  # RFC 5321 §4.5.3.1.3


def is_email_address(text: str) -> bool:
    """Return whether the text is exactly one valid e-mail address, of at most 254 characters."""
    return len(text) <= _MAX_LENGTH and _ADDRESS.fullmatch(text) is not None
