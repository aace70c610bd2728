"""Client authentication with HTTP Basic (RFC 6749 §2.3.1): the header field that a client sends."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote_plus


def format_basic(client_id: str, client_secret: str) -> str:
    """Return the value of the ``Authorization`` header. Client id and secret are form-encoded first."""
    credentials = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {b64encode(credentials.encode()).decode()}"
