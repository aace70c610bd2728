"""What decorators of ``api_helpers`` around a view promise: parameters, header fields, answers. No Flask here.

The rooms do not know each other: a decorator leaves a mark on the view, and here it is read by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from valetkey.resource_server.routes import Route

from .security import PROBLEM_CONTENT

DEPRECATED = "__valetkey_deprecated__"  # since, sunset and link
IDEMPOTENT = "__valetkey_idempotent__"  # whether a key is required
ETAGGED = "__valetkey_etagged__"
FIELDS = "__valetkey_fields__"  # the names that may be asked for
MAX_BODY = "__valetkey_max_body__"  # in bytes
TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True)
class _Promise:
    """What one decorator adds to an operation; what its author wrote of the same stays."""

    parameters: tuple[dict[str, Any], ...] = ()
    fields: dict[str, str] = field(default_factory=dict)  # of answers that are no refusals, with what they mean
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    words: str = ""


def add_promises(operation: dict[str, Any], route: Route, method: str, max_body: str) -> None:
    """Write into an operation what the decorators around its view promise.

    :param max_body: the most that any body may have, as the setting says it; empty: there is no bound.
    """
    answers = operation.setdefault("responses", {})
    for promise in _promises(route, method, max_body):
        known = {(one.get("in"), str(one.get("name")).lower()) for one in operation.get("parameters", ())}
        added = [one for one in promise.parameters if (one["in"], one["name"].lower()) not in known]
        if added:
            operation["parameters"] = [*operation.get("parameters", ()), *added]
        for status, answer in promise.answers.items():
            answers.setdefault(status, answer)
        for status, answer in answers.items():
            if str(status)[0] in "23" and "$ref" not in answer:
                for name, meaning in promise.fields.items():
                    answer.setdefault("headers", {}).setdefault(name, {"description": meaning, "schema": TEXT})
        own = str(operation.get("description") or "")
        if promise.words not in own:
            operation["description"] = "\n\n".join(filter(None, [own, promise.words]))
    operation["responses"] = dict(sorted(answers.items()))


def _promises(route: Route, method: str, max_body: str) -> Iterator[_Promise]:
    if (end := route.said(DEPRECATED)) is not None:
        yield _deprecated(end)
    if route.said(IDEMPOTENT) is not None and method in {"POST", "PATCH"}:
        yield _idempotent(route.said(IDEMPOTENT))
    if route.said(ETAGGED) and method in {"GET", "HEAD"}:
        yield _ETAGGED
    if (names := route.said(FIELDS)) is not None:
        told = f"The members to answer, separated by commas: {', '.join(names)}. All where it is left out."
        yield _Promise((_parameter("fields", "query", told),), answers={"400": _refusal("There is no such field.")})
    own = route.said(MAX_BODY)
    if (most := max_body if own is None else f"{own} bytes") and method in {"POST", "PUT", "PATCH"}:
        yield _Promise(answers={"413": _refusal(f"The body may have {most} at the most.")})


def _deprecated(end: Any) -> _Promise:
    words = f"Deprecated since {_day(end.since)}."
    fields = {"Deprecation": "Since when the operation is deprecated (RFC 9745)."}
    if end.sunset is not None:
        words += f" It stops answering on {_day(end.sunset)}."
        fields["Sunset"] = "When the operation stops answering (RFC 8594)."
    if end.link is not None:
        words += f" What to do instead: {end.link}"
    return _Promise(fields=fields, words=words)


def _idempotent(required: bool) -> _Promise:
    told = "A new random text for each thing that is to be done: sent again with it, the request is answered again."
    return _Promise(
        (_parameter("Idempotency-Key", "header", told, required=required),),
        {"Idempotent-Replayed": "`true` where this answer was given before."},
        {
            "400": _refusal("The Idempotency-Key is malformed, or missing where it is needed."),
            "409": _refusal("The first request with this Idempotency-Key is still at work."),
            "422": _refusal("The Idempotency-Key came with another request."),
        },
    )


def _parameter(name: str, where: str, words: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": where, "description": words, "required": required, "schema": TEXT}


def _refusal(words: str) -> dict[str, Any]:
    return {"description": words, "content": PROBLEM_CONTENT}


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


_ETAGGED = _Promise(
    (_parameter("If-None-Match", "header", "The `ETag` of an answer that you have: 304 where it is still good."),),
    {"ETag": "Names this state of the answer (RFC 9110 §8.8.3)."},
    {"304": {"description": "You have this answer already."}},
)
