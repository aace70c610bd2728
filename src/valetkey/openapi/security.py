"""Document a route's protection in OpenAPI 3: security requirements, error responses, rate limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from valetkey.protocol.uri import endpoint_uri_problem
from valetkey.resource_server.routes import Route
from valetkey.settings import Settings

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
        return {**schemes, "bearer": {**bearer, "description": f"An access token of {' or '.join(trusted_issuers)}."}}
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
    operation["security"] = _security_requirements(route, oauth_schemes, allow_bearer_scopes=allow_bearer_scopes)
    operation["x-access"] = access = describe_access(route, settings)
    responses = operation.setdefault("responses", {})
    is_rate_limited = _is_rate_limited(route, settings)
    for status, name in _possible_errors(route, is_rate_limited=is_rate_limited):
        responses.setdefault(status, {"$ref": f"#/components/responses/{name}"})
    paragraphs = [access]
    limit = rate_limit_extension(route.protection)
    if limit is not None:
        operation["x-rate-limit"] = limit
        paragraphs.append(f"Limit: {limit['description']}")
    if is_rate_limited:
        _add_rate_limit_headers(responses, settings)
    description = str(operation.get("description") or "")
    added = [paragraph for paragraph in paragraphs if paragraph not in description]
    operation["description"] = "\n\n".join(filter(None, [description, *added]))


def _security_requirements(
    route: Route, oauth_schemes: Sequence[str], *, allow_bearer_scopes: bool
) -> list[dict[str, list[str]]]:
    """Return the value of an OpenAPI operation's ``security``; empty if it needs no access token.

    A request has to meet one of the requirements in the list, with all scopes of that requirement (OpenAPI 3.1
    §4.8.30). If the token is optional, one of them is empty.
    """
    protections = [protection for protection in route.protections if not protection.is_public]
    if not protections:
        return []
    requirements: list[dict[str, list[str]]] = []
    no_scopes = (frozenset[str](),)
    for scope_sets in product(*(protection.scope_alternatives or no_scopes for protection in protections)):
        scopes = sorted(frozenset().union(*scope_sets))
        requirements += [{name: scopes} for name in oauth_schemes]
        requirements.append({"bearer": scopes if allow_bearer_scopes else []})
    unique = [entry for number, entry in enumerate(requirements) if entry not in requirements[:number]]
    return [*unique, {}] if all(protection.optional for protection in protections) else unique


def _is_rate_limited(route: Route, settings: Settings) -> bool:
    """Return whether a call can get 429: the route has a rate limit, or it needs a token and the app has plans."""
    needs_token = any(not protection.is_public for protection in route.protections)
    return any(protection.limit is not None for protection in route.protections) or bool(needs_token and settings.plans)


def _possible_errors(route: Route, *, is_rate_limited: bool) -> list[tuple[str, str]]:
    """Return the error responses that a route's protection can cause, each as status and name of its component.

    For example ``("401", "Unauthorized")``, which is documented in ``components/responses/Unauthorized``.
    """
    needs_token = route.protection is not None and not route.protection.is_public
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


def describe_access(route: Route, settings: Settings) -> str:
    """Return English sentences that say which access token, with which scopes, a route's operation needs."""
    protection = route.protection
    if protection is None:
        return "No protection is declared for this operation."
    if protection.is_public:
        return "Public: no access token is needed."
    descriptions = settings.known_scopes
    alternatives = [
        " and ".join(f"`{scope}` ({descriptions.get(scope, scope)})" for scope in sorted(scopes))
        for scopes in protection.scope_alternatives
    ]
    text = f"Needs the scope {', or '.join(alternatives)}." if alternatives else "Needs an access token, of any scope."
    if protection.optional:
        text = f"An access token is optional. {'If sent, it needs' + text[5:] if alternatives else ''}".strip()
    return " ".join([text, *_further_requirements(protection)])


def _further_requirements(protection: Any) -> list[str]:
    requirements = []
    if protection.resource:
        requirements.append(f"The token must be for the resource {protection.resource}.")
    if protection.acr:
        requirements.append(f"The user must have signed in with {' or '.join(protection.acr)}.")
    if protection.max_age is not None:
        requirements.append(f"The user must have signed in within the last {protection.max_age} seconds.")
    return requirements


def path_item_operations(item: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the operation objects of an OpenAPI path item, each with its method in upper case."""
    return [(method.upper(), item[method]) for method in METHODS if isinstance(item.get(method), dict)]
