"""What a route's protection adds to its operation: security, refusals, limits. For any OpenAPI 3 document."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from valetkey.resource_server.routes import Route
from valetkey.settings import Settings

from .limits import rate_limit_extension

_IETF_HEADERS = {
    "RateLimit-Policy": "The limit: `q` calls in `w` seconds (draft-ietf-httpapi-ratelimit-headers).",
    "RateLimit": "What remains: `r` calls now, and the whole budget again in `t` seconds.",
}
_LEGACY_HEADERS = {
    "X-RateLimit-Limit": "The limit: so many calls.",
    "X-RateLimit-Remaining": "How many calls remain now.",
    "X-RateLimit-Reset": "When the whole budget is there again, in seconds since 1970.",
}
_RATE_LIMIT_HEADERS = {
    "ietf": _IETF_HEADERS,
    "legacy": _LEGACY_HEADERS,
    "both": {**_IETF_HEADERS, **_LEGACY_HEADERS},
    "off": {},
}
_ERROR_DESCRIPTIONS = {
    "BadRequest": "The request is malformed.",
    "Unauthorized": "No access token was sent, or it is expired, revoked or not for this API (RFC 6750 §3.1).",
    "Forbidden": "The access token lacks a scope that this operation needs; the challenge names it.",
    "TooManyRequests": "The limit is reached; `Retry-After` says when to come back.",
    "Unavailable": "Access tokens cannot be judged now; try again after `Retry-After` seconds.",
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["title", "status"],
    "properties": {
        "type": {"type": "string", "description": "A URI that names the kind of problem; about:blank where left out."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong, for the developer."},
        "error": {"type": "string", "description": "The error code of RFC 6750 §3.1, where there is one."},
        "reason": {"type": "string", "description": "Of a 429: `rate-limited` or `quota-exceeded`."},
        "violated-policies": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Of a 429: which of the limits that `RateLimit` tells.",
        },
        "reference": {"type": "string", "description": "Names this refusal in the server's log."},
    },
}
PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def shared_components(settings: Settings, scopes: frozenset[str]) -> dict[str, Any]:
    """The parts that operations refer to: security schemes, refusals, header fields.

    :param scopes: those that some operation names, besides the publisher's.
    """
    return {
        "securitySchemes": _security_schemes(settings, scopes),
        "schemas": {"Problem": _PROBLEM_SCHEMA},
        "responses": {name: _error_response(name, settings) for name in _ERROR_DESCRIPTIONS},
        "headers": {
            name: {"description": words, "schema": {"type": "string"}}
            for name, words in _RATE_LIMIT_HEADERS[settings.rate_limit_fields].items()
        }
        | {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
            "WWW-Authenticate": {
                "description": "The challenge: what is wrong, and which scope would do (RFC 6750 §3).",
                "schema": {"type": "string"},
            },
        },
    }


def _security_schemes(settings: Settings, scopes: frozenset[str]) -> dict[str, Any]:
    base = settings.issuer + settings.oauth_path
    words = {name: settings.known_scopes.get(name, name) for name in sorted(scopes | settings.scopes.keys())}
    code = {"authorizationUrl": f"{base}/authorize", "tokenUrl": f"{base}/token", "refreshUrl": f"{base}/token"}
    return {
        "oauth2": {
            "type": "oauth2",
            "description": "An access token of the authorization code flow with PKCE, or of a program for itself.",
            "flows": {
                "authorizationCode": {**code, "scopes": words},
                "clientCredentials": {"tokenUrl": f"{base}/token", "scopes": words},
            },
        },
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "Any access token of this server in the Authorization header, personal ones too.",
        },
    }


def _error_response(name: str, settings: Settings) -> dict[str, Any]:
    fields = {
        "TooManyRequests": ("Retry-After", *_RATE_LIMIT_HEADERS[settings.rate_limit_fields]),
        "Unavailable": ("Retry-After",),
    }
    named = fields.get(name, ("WWW-Authenticate",))
    return {"description": _ERROR_DESCRIPTIONS[name], "headers": _header_references(*named), "content": PROBLEM_CONTENT}


def _header_references(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def add_operation_security(
    operation: dict[str, Any], route: Route, settings: Settings, *, allow_bearer_scopes: bool
) -> None:
    """Write into an operation what the route asks; what its author wrote of refusals stays.

    :param roles: whether scopes may stand beside a bearer scheme (OpenAPI 3.1 and later).
    """
    operation["security"] = _security_requirements(route, allow_bearer_scopes=allow_bearer_scopes)
    operation["x-access"] = access = describe_access(route, settings)
    answers = operation.setdefault("responses", {})
    is_counted = _is_rate_limited(route, settings)
    for status, name in _possible_errors(route, is_rate_limited=is_counted):
        answers.setdefault(status, {"$ref": f"#/components/responses/{name}"})
    told = [access]
    limit = rate_limit_extension(route.protection)
    if limit is not None:
        operation["x-rate-limit"] = limit
        told.append(f"Limit: {limit['description']}")
    if is_counted:
        _add_rate_limit_headers(answers, settings)
    own = str(operation.get("description") or "")
    operation["description"] = "\n\n".join(filter(None, [own, *(words for words in told if words not in own)]))


def _security_requirements(route: Route, *, allow_bearer_scopes: bool) -> list[dict[str, list[str]]]:
    """Any one of the entries is enough; all scopes of an entry are needed (OpenAPI 3.1 §4.8.30)."""
    demanding = [one for one in route.protections if not one.is_public]
    if not demanding:
        return []
    entries: list[dict[str, list[str]]] = []
    for chosen in product(*(one.scope_alternatives or (frozenset[str](),) for one in demanding)):
        scopes = sorted(frozenset().union(*chosen))
        entries += [{"oauth2": scopes}, {"bearer": scopes if allow_bearer_scopes else []}]
    unique = [entry for number, entry in enumerate(entries) if entry not in entries[:number]]
    return [*unique, {}] if all(one.optional for one in demanding) else unique


def _is_rate_limited(route: Route, settings: Settings) -> bool:
    """Whether calls can be too many: by the route's limit, or by those of the app's plan."""
    demanding = [one for one in route.protections if not one.is_public]
    return any(one.limit is not None for one in route.protections) or bool(demanding and settings.plans)


def _possible_errors(route: Route, *, is_rate_limited: bool) -> list[tuple[str, str]]:
    demands = route.protection is not None and not route.protection.is_public
    possible = {
        ("400", "BadRequest"): demands,
        ("401", "Unauthorized"): demands,
        ("403", "Forbidden"): bool(route.scopes),
        ("429", "TooManyRequests"): is_rate_limited,
        ("503", "Unavailable"): demands or is_rate_limited,
    }
    return [refusal for refusal, can_be in possible.items() if can_be]


def _add_rate_limit_headers(responses: Mapping[str, Any], settings: Settings) -> None:
    for status, answer in responses.items():
        if str(status)[0] in "23" and "$ref" not in answer:
            answer.setdefault("headers", {}).update(
                _header_references(*_RATE_LIMIT_HEADERS[settings.rate_limit_fields])
            )


def describe_access(route: Route, settings: Settings) -> str:
    """Whom an operation is for, as a sentence."""
    protection = route.protection
    if protection is None:
        return "Nobody has decided whom this operation is for."
    if protection.is_public:
        return "For everybody: no access token is needed."
    known = settings.known_scopes
    named = [
        " and ".join(f"`{scope}` ({known.get(scope, scope)})" for scope in sorted(scopes))
        for scopes in protection.scope_alternatives
    ]
    needs = f"Needs the scope {', or '.join(named)}." if named else "Needs an access token, of any scope."
    if protection.optional:
        needs = f"An access token is optional. {'One that is sent needs' + needs[5:] if named else ''}".strip()
    return " ".join([needs, *_further_requirements(protection)])


def _further_requirements(protection: Any) -> list[str]:
    more = []
    if protection.resource:
        more.append(f"The token must be for the resource {protection.resource}.")
    if protection.acr:
        more.append(f"The person must have signed in by {' or '.join(protection.acr)}.")
    if protection.max_age is not None:
        more.append(f"The person must have signed in within the last {protection.max_age} seconds.")
    return more


def path_item_operations(item: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The operations of a path item, by method in upper case."""
    return [(method.upper(), item[method]) for method in METHODS if isinstance(item.get(method), dict)]
