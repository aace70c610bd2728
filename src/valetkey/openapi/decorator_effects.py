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

DEPRECATED_ATTRIBUTE = "__valetkey_deprecated__"  # since, sunset and link
IDEMPOTENT_ATTRIBUTE = "__valetkey_idempotent__"  # whether a key is required
ETAGGED_ATTRIBUTE = "__valetkey_etagged__"
FIELDS_ATTRIBUTE = "__valetkey_fields__"  # the names that may be asked for
MAX_BODY_ATTRIBUTE = "__valetkey_max_body__"  # in bytes
STRING_SCHEMA = {"type": "string"}


@dataclass(frozen=True, slots=True)
class _DecoratorEffect:
    """What one decorator adds to an operation; what its author wrote of the same stays."""

    parameters: tuple[dict[str, Any], ...] = ()
    response_headers: dict[str, str] = field(
        default_factory=dict
    )  # of answers that are no refusals, with what they mean
    responses: dict[str, dict[str, Any]] = field(default_factory=dict)
    description: str = ""


def add_decorator_effects(operation: dict[str, Any], route: Route, method: str, max_body: str) -> None:
    """Write into an operation what the decorators around its view promise.

    :param max_body: the most that any body may have, as the setting says it; empty: there is no bound.
    """
    answers = operation.setdefault("responses", {})
    for promise in _decorator_effects(route, method, max_body):
        known = {(one.get("in"), str(one.get("name")).lower()) for one in operation.get("parameters", ())}
        added = [one for one in promise.parameters if (one["in"], one["name"].lower()) not in known]
        if added:
            operation["parameters"] = [*operation.get("parameters", ()), *added]
        for status, answer in promise.responses.items():
            answers.setdefault(status, answer)
        for status, answer in answers.items():
            if str(status)[0] in "23" and "$ref" not in answer:
                for name, meaning in promise.response_headers.items():
                    answer.setdefault("headers", {}).setdefault(name, {"description": meaning, "schema": STRING_SCHEMA})
        own = str(operation.get("description") or "")
        if promise.description not in own:
            operation["description"] = "\n\n".join(filter(None, [own, promise.description]))
    operation["responses"] = dict(sorted(answers.items()))


def _decorator_effects(route: Route, method: str, max_body: str) -> Iterator[_DecoratorEffect]:
    if (end := route.get_view_attribute(DEPRECATED_ATTRIBUTE)) is not None:
        yield _deprecation_effect(end)
    if route.get_view_attribute(IDEMPOTENT_ATTRIBUTE) is not None and method in {"POST", "PATCH"}:
        yield _idempotency_effect(route.get_view_attribute(IDEMPOTENT_ATTRIBUTE))
    if route.get_view_attribute(ETAGGED_ATTRIBUTE) and method in {"GET", "HEAD"}:
        yield _ETAG_EFFECT
    if (names := route.get_view_attribute(FIELDS_ATTRIBUTE)) is not None:
        told = f"The members to answer, separated by commas: {', '.join(names)}. All where it is left out."
        yield _DecoratorEffect(
            (_parameter("fields", "query", told),), responses={"400": _problem_response("There is no such field.")}
        )
    own = route.get_view_attribute(MAX_BODY_ATTRIBUTE)
    if (most := max_body if own is None else f"{own} bytes") and method in {"POST", "PUT", "PATCH"}:
        yield _DecoratorEffect(responses={"413": _problem_response(f"The body may have {most} at the most.")})


def _deprecation_effect(deprecation: Any) -> _DecoratorEffect:
    words = f"Deprecated since {_iso_date(deprecation.since)}."
    fields = {"Deprecation": "Since when the operation is deprecated (RFC 9745)."}
    if deprecation.sunset is not None:
        words += f" It stops answering on {_iso_date(deprecation.sunset)}."
        fields["Sunset"] = "When the operation stops answering (RFC 8594)."
    if deprecation.link is not None:
        words += f" What to do instead: {deprecation.link}"
    return _DecoratorEffect(response_headers=fields, description=words)


def _idempotency_effect(required: bool) -> _DecoratorEffect:
    told = "A new random text for each thing that is to be done: sent again with it, the request is answered again."
    return _DecoratorEffect(
        (_parameter("Idempotency-Key", "header", told, required=required),),
        {"Idempotent-Replayed": "`true` where this answer was given before."},
        {
            "400": _problem_response("The Idempotency-Key is malformed, or missing where it is needed."),
            "409": _problem_response("The first request with this Idempotency-Key is still at work."),
            "422": _problem_response("The Idempotency-Key came with another request."),
        },
    )


def _parameter(name: str, location: str, description: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": location, "description": description, "required": required, "schema": STRING_SCHEMA}


def _problem_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": PROBLEM_CONTENT}


def _iso_date(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()


_ETAG_EFFECT = _DecoratorEffect(
    (_parameter("If-None-Match", "header", "The `ETag` of an answer that you have: 304 where it is still good."),),
    {"ETag": "Names this state of the answer (RFC 9110 §8.8.3)."},
    {"304": {"description": "You have this answer already."}},
)
