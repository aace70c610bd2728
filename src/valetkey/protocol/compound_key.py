"""One text for several parts, such as a limit, a client and a network: the key of a counter or of a stored response."""

from __future__ import annotations


def join_key(*parts: str) -> str:
    """Return the key for a list of at least one part. Two different lists never have the same key.

    Parts are separated by ``|``. A ``|`` or a backslash in a part is escaped with a backslash: identifiers of
    users of the host app and URLs of clients may contain them.
    """
    key = "|".join(parts)
    if "\\" not in key and key.count("|") == len(parts) - 1:  # nothing to escape
        return key
    return "|".join([part.replace("\\", "\\\\").replace("|", "\\|") for part in parts])
