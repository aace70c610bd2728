"""Helpers for a public API: problem details, pagination, conditional requests, idempotency keys, CORS and more.

Each helper can be used on its own. All but ``idempotent`` also work in a Flask app without ``Valetkey``. Put the
decorators below ``@require_oauth``.

- ``Problem``, ``problem``, ``use_problems``: error responses as problem details (RFC 9457)
- ``paginate``, ``Page``: pages of a SQLAlchemy select, with ``Link`` headers (RFC 8288)
- ``seal_cursor``, ``open_cursor``: signed cursors, for lists that are not selects
- ``etagged``, ``etag_of``, ``check_preconditions``: conditional requests (RFC 9110 §13)
- ``idempotent``: ``Idempotency-Key``, so that a repeated POST is executed once
- ``sparse_fields``: ``?fields=`` selects the members of a JSON response
- ``deprecated``: marks a route as deprecated, with ``Deprecation`` and ``Sunset`` headers (RFC 9745, RFC 8594)
- ``use_cors``: cross-origin requests from browsers
- ``max_body``, ``limit_bodies``: largest request body, refused with 413 before it is read
- ``use_request_ids``, ``request_id``, ``RequestIdFilter``: a ``Request-Id`` in responses, logs and problem details
"""

from __future__ import annotations

from valetkey.protocol.etag import etag_of
from valetkey.web.problem_responses import Problem, problem
from valetkey.web.problem_responses import use_problems as use_problems

from .body_size import limit_bodies, max_body
from .conditional import check_preconditions, etagged
from .cors import use_cors
from .cursors import open_cursor, seal_cursor
from .deprecation import deprecated
from .idempotency import idempotent
from .pagination import Page, paginate
from .request_ids import RequestIdFilter, request_id, use_request_ids
from .sparse_fields import sparse_fields

__all__ = [
    "Page",
    "Problem",
    "RequestIdFilter",
    "check_preconditions",
    "deprecated",
    "etag_of",
    "etagged",
    "idempotent",
    "limit_bodies",
    "max_body",
    "open_cursor",
    "paginate",
    "problem",
    "request_id",
    "seal_cursor",
    "sparse_fields",
    "use_cors",
    "use_problems",
    "use_request_ids",
]
