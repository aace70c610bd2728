"""Problem details (RFC 9457) and refusals as JSON (RFC 6749 §5.2), each with the request's reference."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flask import Response
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from valetkey.protocol.problem import CONTENT_TYPE, problem_body

from .reference import reference


def problem(status: int, detail: str, headers: Iterable[tuple[str, str]] = (), **members: Any) -> Response:
    """An answer with problem details and the request's reference."""
    body = problem_body(status, detail, reference=reference(), **members)
    return Response(body, status, list(headers), content_type=CONTENT_TYPE)


class Problem(HTTPException):
    """A refusal to raise in a view; a host's own error handler for its status comes first, as for ``abort``.

    :param detail: a sentence for the caller (RFC 9457 §3.1.4).
    :param members: further members of the problem, by name.
    """

    def __init__(self, status: int, detail: str, headers: Iterable[tuple[str, str]] = (), **members: Any) -> None:
        super().__init__(detail)
        self.code = status
        self._headers = tuple(headers)
        self._members = members

    def get_response(self, *_: Any, **__: Any) -> AnyResponse:
        return problem(self.code or 500, str(self.description), self._headers, **self._members)


def json_refusal(status: int, error: str, sentence: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A refusal in the form of RFC 6749 §5.2, with the request's reference."""
    body = json.dumps({"error": error, "error_description": sentence})
    told = {"Cache-Control": "no-store", "Valetkey-Reference": reference()}
    response = Response(body, status, told, mimetype="application/json")
    response.headers.extend(list(headers))
    return response
