"""Sizes in bytes, written with a unit: ``64 KiB``, ``2 MB``."""

from __future__ import annotations

import re

_UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}


def parse_size(text: str | int) -> int:
    """Return the number of bytes that a text such as ``64 KiB`` means; a number without a unit is in bytes.

    :raises ValueError: if the text is not a size.
    """
    match = re.fullmatch(r"\s*(\d{1,15})\s*([a-z]*)\s*", str(text).lower(), re.ASCII)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is not a size: write it like '64 KiB' or '2 MB'")
    return int(match[1]) * _UNITS[match[2]]
