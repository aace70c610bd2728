"""The form that every refusal of a request has, and the security headers of every page."""

from __future__ import annotations

import re

from werkzeug.test import TestResponse

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def check_refusal(refused: TestResponse, error: str, status: int = 400) -> None:
    """Check the form of an error response of a machine endpoint (RFC 6749 §5.2)."""
    assert (refused.status_code, refused.json["error"]) == (status, error), refused.text
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", refused.json["error_description"])
    assert refused.headers["Content-Type"] == "application/json"
    assert refused.headers["Cache-Control"] == "no-store"
    assert refused.headers["Pragma"] == "no-cache"
    assert "access_token" not in refused.json


def check_headers(page: TestResponse) -> None:
    """Check the security headers of a page, a redirect or an error page (RFC 9700 §4.2.4, §4.16)."""
    assert page.headers["Content-Security-Policy"] == CSP, page.status
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert "form-action" not in page.headers["Content-Security-Policy"]
