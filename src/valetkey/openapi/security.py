"""Document a route's protection in OpenAPI 3: security requirements, error responses, rate limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from valetkey.protocol.uri import endpoint_uri_problem
from valetkey.resource_server.routes import Route
from valetkey.settings import Settings

from .access import TokenRequirements, combine_protections, describe_access
from .limits import rate_limit_extension

IssuerMetadata = Mapping[str, Mapping[str, Any]]  # metadata of authorization servers (RFC 8414) by issuer
_IETF_HEADERS = {
    "RateLimit-Policy": "The limit: `q` calls in `w` seconds (draft-ietf-httpapi-ratelimit-headers).",
    "RateLimit": "What remains: `r` calls; the budget is full again in `t` seconds.",
}
_LEGACY_HEADERS = {
    "X-RateLimit-Limit": "The limit, as a number of calls.",
    "X-RateLimit-Remaining": "The number of calls that remain.",
    "X-RateLimit-Reset": "When the budget is full again, in seconds since 1970.",
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
    "TooManyRequests": "The limit is reached; try again after `Retry-After` seconds.",
    "Unavailable": "Access tokens cannot be verified now; try again after `Retry-After` seconds.",
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["title", "status"],
    "properties": {
        "type": {"type": "string", "description": "A URI that names the kind of problem; about:blank if omitted."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong, for the developer."},
        "error": {"type": "string", "description": "The error code of RFC 6750 §3.1, if there is one."},
        "reason": {"type": "string", "description": "Only with 429: `rate-limited` or `quota-exceeded`."},
        "violated-policies": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Only with 429: the names of the exceeded limits, as in `RateLimit`.",
        },
        "reference": {"type": "string", "description": "The id of this error response in the server's log."},
    },
}
PROBLEM_SCHEMA_NAME = "Problem"
PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{PROBLEM_SCHEMA_NAME}"}}}
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def shared_components(settings: Settings, trusted_issuers: IssuerMetadata, scopes: frozenset[str]) -> dict[str, Any]:
    """Return the ``components`` that the operations of an OpenAPI document refer to.

    These are the security schemes, the schema of problem details (RFC 9457), the error responses and the headers.

    :param trusted_issuers: the other servers that issue the API's tokens, each with its metadata, which is empty if it
        is not known; no servers if this one issues the tokens.
    :param scopes: the scopes that operations require; they are listed in addition to the setting ``scopes``.
    """
    return {
        "securitySchemes": _security_schemes(settings, trusted_issuers, scopes),
        "schemas": {PROBLEM_SCHEMA_NAME: _PROBLEM_SCHEMA},
        "responses": {name: _error_response(name, settings) for name in _ERROR_DESCRIPTIONS},
        "headers": {
            name: {"description": description, "schema": {"type": "string"}}
            for name, description in _RATE_LIMIT_HEADERS[settings.rate_limit_fields].items()
        }
        | {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
            "WWW-Authenticate": {
                "description": "The challenge: what is wrong, and which scope is needed (RFC 6750 §3).",
                "schema": {"type": "string"},
            },
        },
    }


def _security_schemes(settings: Settings, trusted_issuers: IssuerMetadata, scopes: frozenset[str]) -> dict[str, Any]:
    bearer = {"type": "http", "scheme": "bearer"}
    descriptions = {name: settings.known_scopes.get(name, name) for name in sorted(scopes | settings.scopes.keys())}
    if trusted_issuers:
        schemes = {
            name: {
                "type": "oauth2",
                "description": f"An access token of {issuer}.",
                "flows": {flow: {**urls, "scopes": descriptions} for flow, urls in flows.items()},
            }
            for name, (issuer, flows) in _issuer_schemes(trusted_issuers).items()
        }
        description = f"An access token of {' or '.join(trusted_issuers)}."
        # A diff cannot see it in the other schemes, which lack the issuers that do not respond.
        return {**schemes, "bearer": {**bearer, "description": description, "x-issuers": list(trusted_issuers)}}
    base = settings.issuer + settings.oauth_path
    code = {"authorizationUrl": f"{base}/authorize", "tokenUrl": f"{base}/token", "refreshUrl": f"{base}/token"}
    return {
        "oauth2": {
            "type": "oauth2",
            "description": "An access token from the authorization code flow with PKCE, or from client credentials.",
            "flows": {
                "authorizationCode": {**code, "scopes": descriptions},
                "clientCredentials": {"tokenUrl": f"{base}/token", "scopes": descriptions},
            },
        },
        "bearer": {
            **bearer,
            "description": "Any access token of this server in the Authorization header, also a personal access token.",
        },
    }


def _issuer_schemes(trusted_issuers: IssuerMetadata) -> dict[str, tuple[str, dict[str, dict[str, str]]]]:
    """Return the ``oauth2`` schemes of other servers: by name, the issuer and the URLs of each of its flows.

    An issuer has no scheme if its metadata is not known, or names no token endpoint. The first scheme is
    ``oauth2``, the others are ``oauth2_2`` and so on.
    """
    flows_by_issuer = {issuer: _flows(metadata) for issuer, metadata in trusted_issuers.items()}
    usable = [(issuer, flows) for issuer, flows in flows_by_issuer.items() if flows]
    return {"oauth2" if number == 1 else f"oauth2_{number}": item for number, item in enumerate(usable, 1)}


def _flows(metadata: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the OAuth flows that a server's metadata (RFC 8414 §2) describes, each with its URLs by OpenAPI name."""
    token_url, authorization_url = metadata.get("token_endpoint"), metadata.get("authorization_endpoint")
    grant_types = metadata.get("grant_types_supported", ["authorization_code"])
    flows: dict[str, dict[str, str]] = {}
    if not _is_url(token_url) or not isinstance(grant_types, list):
        return flows
    if _is_url(authorization_url) and "authorization_code" in grant_types:
        flows["authorizationCode"] = {"authorizationUrl": str(authorization_url), "tokenUrl": str(token_url)}
    if "client_credentials" in grant_types:
        flows["clientCredentials"] = {"tokenUrl": str(token_url)}
    return flows


def _is_url(value: object) -> bool:
    return isinstance(value, str) and endpoint_uri_problem(value) is None


def _error_response(name: str, settings: Settings) -> dict[str, Any]:
    special = {
        "TooManyRequests": ("Retry-After", *_RATE_LIMIT_HEADERS[settings.rate_limit_fields]),
        "Unavailable": ("Retry-After",),
    }
    headers = _header_references(*special.get(name, ("WWW-Authenticate",)))
    return {"description": _ERROR_DESCRIPTIONS[name], "headers": headers, "content": PROBLEM_CONTENT}


def _header_references(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def add_operation_security(
    operation: dict[str, Any],
    route: Route,
    settings: Settings,
    trusted_issuers: IssuerMetadata,
    *,
    allow_bearer_scopes: bool,
) -> None:
    """Add a route's security requirements, error responses and rate limit to its OpenAPI operation object, in place.

    Existing responses are not replaced; existing security requirements are. The requirements and the rate limit are
    also appended, in English, to the operation's description.

    :param trusted_issuers: as for ``shared_components``.
    :param allow_bearer_scopes: whether to list scopes under the bearer scheme; OpenAPI allows it from 3.1 on.
    """
    oauth_schemes = list(_issuer_schemes(trusted_issuers)) if trusted_issuers else ["oauth2"]
    requirements = combine_protections(route.protections, settings)
    operation["security"] = _security_requirements(requirements, oauth_schemes, allow_bearer_scopes=allow_bearer_scopes)
    operation["x-access"] = access = describe_access(route.protections, settings)
    if requirements is not None and requirements.extension:
        operation["x-token-requirements"] = requirements.extension
    responses = operation.setdefault("responses", {})
    is_rate_limited = _is_rate_limited(route, settings)
    for status, name in _possible_errors(route, is_rate_limited=is_rate_limited):
        responses.setdefault(status, {"$ref": f"#/components/responses/{name}"})
    paragraphs = [access]
    limit = rate_limit_extension(route.protections)
    if limit is not None:
        operation["x-rate-limit"] = limit
        paragraphs.append(f"Limit: {limit['description']}")
    if is_rate_limited:
        _add_rate_limit_headers(responses, settings)
    description = str(operation.get("description") or "")
    added = [paragraph for paragraph in paragraphs if paragraph not in description]
    operation["description"] = "\n\n".join(filter(None, [description, *added]))


def _security_requirements(
    requirements: TokenRequirements | None, oauth_schemes: Sequence[str], *, allow_bearer_scopes: bool
) -> list[dict[str, list[str]]]:
    """Return the value of an OpenAPI operation's ``security``; empty if it needs no access token.

    A request has to meet one of the requirements in the list, with all scopes of that requirement (OpenAPI 3.1
    §4.8.30). If the token is optional, one of them is empty.
    """
    if requirements is None:
        return []
    security: list[dict[str, list[str]]] = []
    for scopes in map(sorted, requirements.scope_alternatives or ((),)):
        security += [{name: list(scopes)} for name in oauth_schemes]
        security.append({"bearer": list(scopes) if allow_bearer_scopes else []})
    unique = [entry for number, entry in enumerate(security) if entry not in security[:number]]
    return [*unique, {}] if requirements.optional else unique


def _is_rate_limited(route: Route, settings: Settings) -> bool:
    """Return whether a call can get 429: the route has a rate limit, or it needs a token and the app has plans."""
    needs_token = any(not protection.is_public for protection in route.protections)
    return any(protection.limit is not None for protection in route.protections) or bool(needs_token and settings.plans)


def _possible_errors(route: Route, *, is_rate_limited: bool) -> list[tuple[str, str]]:
    """Return the error responses that a route's protection can cause, each as status and name of its component.

    For example ``("401", "Unauthorized")``, which is documented in ``components/responses/Unauthorized``.
    """
    needs_token = any(not protection.is_public for protection in route.protections)
    is_possible = {
        ("400", "BadRequest"): needs_token,
        ("401", "Unauthorized"): needs_token,
        ("403", "Forbidden"): bool(route.scopes),
        ("429", "TooManyRequests"): is_rate_limited,
        ("503", "Unavailable"): needs_token or is_rate_limited,
    }
    return [error for error, possible in is_possible.items() if possible]


def _add_rate_limit_headers(responses: Mapping[str, Any], settings: Settings) -> None:
    for status, response in responses.items():
        if str(status)[0] in "23" and "$ref" not in response:
            response.setdefault("headers", {}).update(
                _header_references(*_RATE_LIMIT_HEADERS[settings.rate_limit_fields])
            )


def path_items(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the path items of an OpenAPI document by path, without the extensions (``x-``) of the paths object."""
    return {path: item for path, item in document.get("paths", {}).items() if path.startswith("/")}


def path_item_operations(item: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the operation objects of an OpenAPI path item, each with its method in upper case."""
    return [(method.upper(), item[method]) for method in METHODS if isinstance(item.get(method), dict)]
