"""Small things that a good API has: each usable alone, also in an app without a Valetkey."""

from __future__ import annotations

from valetkey.web.problem_responses import Problem, problem
from valetkey.web.problem_responses import use_problems as use_problems

from .body_size import limit_bodies, max_body
from .conditional import check_preconditions, etag_of, etagged
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
