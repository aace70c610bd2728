"""Cross-origin requests by scripts in browsers (CORS, Fetch Standard §3.3): the headers that a preflight allows."""

from __future__ import annotations

import re

_are_header_names = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{1,1000}").fullmatch


def allowed_headers(requested: str, default: str) -> str:
    """Return the value of ``Access-Control-Allow-Headers``: the requested headers, because all are allowed.

    :param requested: the value of ``Access-Control-Request-Headers``; empty if the request has none.
    :param default: the value to return if ``requested`` is not a list of header names.
    """
    return requested if _are_header_names(requested) else default
