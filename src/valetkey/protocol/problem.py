"""Problem details for HTTP APIs (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus

CONTENT_TYPE = "application/problem+json"


def problem_body(status: int, detail: str, *, title: str | None = None, **members: object) -> bytes:
    """The JSON of a problem; its type is about:blank, so the title is the status's phrase (§4.2.1)."""
    body = {"title": title or HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return json.dumps(body).encode()
