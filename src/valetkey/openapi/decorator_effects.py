"""Document what the ``api_helpers`` decorators of a view do: add parameters, headers and responses to its operation.

This package does not import ``api_helpers`` (nor Flask): a decorator sets an attribute on the view, and this module
reads the attribute by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from valetkey.protocol.size import parse_size
from valetkey.resource_server.routes import Route

from .security import PROBLEM_CONTENT

DEPRECATED_ATTRIBUTE = "__valetkey_deprecated__"  # an object with since, sunset and link
IDEMPOTENT_ATTRIBUTE = "__valetkey_idempotent__"  # an object with required and max_bytes
ETAGGED_ATTRIBUTE = "__valetkey_etagged__"  # True if responses have an ETag
FIELDS_ATTRIBUTE = "__valetkey_fields__"  # the names that ?fields= accepts
MAX_BODY_ATTRIBUTE = "__valetkey_max_body__"  # in bytes
STRING_SCHEMA = {"type": "string"}


@dataclass(frozen=True, slots=True)
class _DecoratorEffect:
    """What one ``api_helpers`` decorator, such as ``@etagged``, adds to the OpenAPI operation of its view."""

    parameters: tuple[dict[str, Any], ...] = ()
    response_headers: dict[str, str] = field(default_factory=dict)  # of 2xx and 3xx responses: name to description
    responses: dict[str, dict[str, Any]] = field(default_factory=dict)
    description: str = ""
    members: dict[str, Any] = field(default_factory=dict)  # other members of the operation object


def add_decorator_effects(operation: dict[str, Any], route: Route, method: str, max_body: str) -> None:
    """Add what the ``api_helpers`` decorators of a route's view do to its OpenAPI operation object, in place.

    Members, parameters, responses and response headers that the operation already has are not replaced.

    :param method: the operation's HTTP method, in upper case.
    :param max_body: the setting ``max_body``, such as ``1 MiB``; empty if bodies are not limited.
    """
    responses = operation.setdefault("responses", {})
    for effect in _decorator_effects(route, method, max_body):
        present = {(item.get("in"), str(item.get("name")).lower()) for item in operation.get("parameters", ())}
        added = [item for item in effect.parameters if (item["in"], item["name"].lower()) not in present]
        if added:
            operation["parameters"] = [*operation.get("parameters", ()), *added]
        for name, value in effect.members.items():
            operation.setdefault(name, value)
        for status, response in effect.responses.items():
            responses.setdefault(status, response)
        for status, response in responses.items():
            if str(status)[0] in "23" and "$ref" not in response:
                headers = response.setdefault("headers", {}) if effect.response_headers else {}
                for name, meaning in effect.response_headers.items():
                    headers.setdefault(name, {"description": meaning, "schema": STRING_SCHEMA})
        description = str(operation.get("description") or "")
        if effect.description not in description:
            operation["description"] = "\n\n".join(filter(None, [description, effect.description]))
    operation["responses"] = dict(sorted(responses.items()))


def _decorator_effects(route: Route, method: str, max_body: str) -> Iterator[_DecoratorEffect]:
    if (deprecation := route.get_view_attribute(DEPRECATED_ATTRIBUTE)) is not None:
        yield _deprecation_effect(deprecation)
    idempotency = route.get_view_attribute(IDEMPOTENT_ATTRIBUTE) if method in {"POST", "PATCH"} else None
    if idempotency is not None:
        yield _idempotency_effect(idempotency.required, route)
    if route.get_view_attribute(ETAGGED_ATTRIBUTE) and method in {"GET", "HEAD"}:
        yield _ETAG_EFFECT
    if (names := route.get_view_attribute(FIELDS_ATTRIBUTE)) is not None:
        description = f"The members to return, separated by commas: {', '.join(names)}. All members if omitted."
        yield _DecoratorEffect(
            (_parameter("fields", "query", description),),
            responses={"400": _problem_response("There is no such field.")},
        )
    view_limit = route.get_view_attribute(MAX_BODY_ATTRIBUTE)
    limit = (max_body if view_limit is None else str(view_limit)) if method in {"POST", "PUT", "PATCH"} else ""
    if limit or idempotency is not None:
        yield _DecoratorEffect(responses={"413": _problem_response(_describe_body_limit(limit, idempotency))})


def _describe_body_limit(limit: str, idempotency: Any) -> str:
    """Return a sentence with the largest body of a request.

    :param limit: the limit of all requests, such as ``1 MiB``, or in bytes; empty if there is none.
    :param idempotency: the attribute of ``@idempotent``, which has a limit for requests with a key; None without it.
    """
    text = f"{limit} bytes" if limit.isdecimal() else limit
    if idempotency is None or (limit and idempotency.max_bytes >= parse_size(limit)):
        return f"The body may be at most {text}."
    text_with_key = f"{idempotency.max_bytes} bytes"
    if idempotency.required:
        return f"The body may be at most {text_with_key}."
    return f"The body may be at most {f'{text}, and at most ' if text else ''}{text_with_key} with an Idempotency-Key."


def _deprecation_effect(deprecation: Any) -> _DecoratorEffect:
    description = f"Deprecated since {_iso_date(deprecation.since)}."
    headers = {"Deprecation": "Since when the operation is deprecated (RFC 9745)."}
    if deprecation.sunset is not None:
        description += f" It stops responding on {_iso_date(deprecation.sunset)}."
        headers["Sunset"] = "When the operation stops responding (RFC 8594)."
    if deprecation.link is not None:
        description += f" What to do instead: {deprecation.link}"
    return _DecoratorEffect(response_headers=headers, description=description, members={"deprecated": True})


def _idempotency_effect(required: bool, route: Route) -> _DecoratorEffect:
    """Return the effect of ``@idempotent``: only the access token says whether a response is the caller's own."""
    with_token = [protection for protection in route.protections if not protection.is_public]
    needs_token = not all(protection.optional for protection in with_token)
    result = "gets the first response" if with_token else "is refused with 409"
    if with_token and not needs_token:
        result += " if it has an access token, else 409"
    conflict = "The first request with this Idempotency-Key is still being processed, or its response was not stored."
    if not needs_token:
        conflict = "There was a request with this Idempotency-Key" + (
            ", without an access token." if with_token else "."
        )
    description = f"A new random string for each operation. A request repeated with its key {result}."
    unavailable = _problem_response("Idempotency keys cannot be stored now; try again after `Retry-After` seconds.")
    return _DecoratorEffect(
        (_parameter("Idempotency-Key", "header", description, required=required),),
        {"Idempotent-Replayed": "`true` if this is the stored response to an earlier request."} if with_token else {},
        {
            "400": _problem_response("The Idempotency-Key is malformed, or missing although it is required."),
            "409": _problem_response(conflict),
            "422": _problem_response("The Idempotency-Key was used for a different request."),
            "503": {**unavailable, "headers": {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}},
        },
    )


def _parameter(name: str, location: str, description: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": location, "description": description, "required": required, "schema": STRING_SCHEMA}


def _problem_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": PROBLEM_CONTENT}


def _iso_date(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()


_ETAG_EFFECT = _DecoratorEffect(
    (_parameter("If-None-Match", "header", "The `ETag` of a response that you have: 304 if it is still current."),),
    {"ETag": "The version of this response (RFC 9110 §8.8.3)."},
    {"304": {"description": "The response that you have is still current."}},
)
