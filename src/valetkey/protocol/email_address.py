"""E-mail addresses (RFC 5321 §4.1.2): exactly one mailbox, in one spelling that mail programs read alike."""

from __future__ import annotations

import re
from hashlib import sha256

# A dot-atom without what a mail program may decode or a mail server may reroute: an encoded word (RFC 2047) hides any
# text, "%" and "!" name another server. Quoted local parts, comments and address literals are other spellings of an
# address. Characters outside ASCII can be spelled in several ways; an internationalized domain is written "xn--...".
_ATOM = r"[A-Za-z0-9#$&'*+/=?^_`{}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?:{_LABEL}\.)+(?P<top>{_LABEL})")
_NAME_AND_ADDRESS = re.compile(r'"?(?P<name>[^"<>\\]*?)"?\s*<(?P<address>[^<>]*)>')
_FULL_WIDTH = {code_point: chr(code_point - 0xFEE0) for code_point in range(0xFF01, 0xFF5F)}
# Not ``str.lower``: it also makes letters of other scripts ASCII, such as U+212A (KELVIN SIGN).
_TO_NORMAL_FORM = {code_point: text.lower() for code_point, text in _FULL_WIDTH.items()} | {
    **{code_point: chr(code_point).lower() for code_point in range(ord("A"), ord("Z") + 1)},
    **dict.fromkeys((0x3002, 0xFF61), "."),  # RFC 3490 §3.1
}
_MAX_LENGTH, _MAX_LOCAL_LENGTH = 254, 64  # RFC 5321 §4.5.3.1


def is_email_address(text: str) -> bool:
    """Return whether the text is exactly one e-mail address that mail can be sent to.

    Addresses that a mail program could read as another mailbox than the text are refused: see the comment above.
    """
    match = _ADDRESS.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None or match["top"].isdigit():
        return False
    return len(match["local"]) <= _MAX_LOCAL_LENGTH and "=?" not in match["local"]


def normalize_email_address(text: str) -> str:
    """Return the spelling of an e-mail address under which it is stored, limited, verified and sent to.

    Spaces around it are removed, and capitals are lowered. Full-width letters, digits and signs, and the ideographic
    full stop, which keyboards for Chinese, Japanese and Korean type, become their ASCII equivalents. The result is a
    valid address only if ``is_email_address`` is true of it. The normal form of a valid address in small letters is the
    address itself.
    """
    return text.strip().translate(_TO_NORMAL_FORM)


def mailbox_of(address: str) -> str:
    """Return an e-mail address without its tag: ``ada@example.org`` for ``ada+shop@example.org`` (RFC 5233).

    Limits of mail count by it, because most mail servers deliver all tags to one mailbox.
    """
    local, _, domain = address.partition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def digest_email_address(address: str) -> str:
    """Return the digest of an e-mail address, for the name of a counter: counters may be in a shared Redis or a file.

    In the field for the address, a user may also have typed a password.
    """
    return sha256(address.encode()).hexdigest()


def parse_sender(text: str) -> tuple[str, str] | None:
    """Return the display name and the e-mail address of a sender, or ``None`` if the text is not a sender.

    :param text: such as ``Shop <mail@shop.example>`` or ``mail@shop.example``.
    """
    match = _NAME_AND_ADDRESS.fullmatch(text.strip())
    name, address = (match["name"].strip(), match["address"]) if match else ("", text.strip())
    return (name, address) if is_email_address(address) and name.isprintable() and "=?" not in name else None
