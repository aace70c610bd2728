"""The OAuth endpoints as an OpenAPI document: what machines send there, and what they get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.runtime import Runtime

from .endpoints import METADATA, OPENID_CONFIGURATION
from .token.endpoint import GRANT_TYPES

_TEXT: dict[str, Any] = {"type": "string"}
_WHOLE: dict[str, Any] = {"type": "integer"}
_CLIENT = {
    "client_id": {**_TEXT, "description": "Of a client that does not send it in the Authorization header."},
    "client_secret": {**_TEXT, "description": "With `client_id`, where the client sends its secret in the body."},
    "client_assertion_type": _TEXT,
    "client_assertion": {**_TEXT, "description": "A JWT that proves the client (RFC 7523)."},
}
_PROVEN: list[dict[str, list[str]]] = [{"client": []}, {}]  # {}: by parameters of the body
_BEARER: list[dict[str, list[str]]] = [{"bearer": []}]
_REFUSALS = {
    "400": "The request cannot be served; `error` says why (RFC 6749 §5.2).",
    "401": "The client or the token is not accepted.",
    "403": "It is not allowed.",
    "404": "There is no such thing.",
    "413": "The body is larger than 64 KiB.",
    "429": "Too many of these; `Retry-After` says when to come back.",
    "503": "The server cannot answer now; try again after `Retry-After` seconds.",
}
_CLIENT_METADATA = {
    "type": "object",
    "description": "Client metadata (RFC 7591 §2).",
    "properties": {
        "client_name": _TEXT,
        "redirect_uris": {"type": "array", "items": {**_TEXT, "format": "uri"}},
        "grant_types": {"type": "array", "items": _TEXT},
        "token_endpoint_auth_method": _TEXT,
        "scope": _TEXT,
    },
}


def oauth_description(runtime: Runtime) -> dict[str, Any]:
    """The document of this server's own endpoints; one that the settings close is left out."""
    settings = runtime.settings
    paths = {f"{settings.oauth_path}{path}": item for path, item in _endpoints(runtime).items()}
    for endpoint in (METADATA, OPENID_CONFIGURATION):
        paths[endpoint.path] = {"get": _read(endpoint.name, "Find every endpoint and what it can do (RFC 8414 §3)")}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{settings.name}: OAuth 2.0", "version": settings.api_version},
        "servers": [{"url": settings.issuer}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "client": {"type": "http", "scheme": "basic", "description": "client_id and client_secret."},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {"Error": _object({"error": _TEXT, "error_description": _TEXT}, "error_description")},
        },
    }


def _endpoints(runtime: Runtime) -> dict[str, dict[str, Any]]:
    settings = runtime.settings
    found = {
        "/token": {"post": _token(settings.device_path is not None)},
        "/revoke": {
            "post": _form(
                "revoke",
                "End a token, whatever it was (RFC 7009)",
                {"token": _TEXT, "token_type_hint": _TEXT, **_CLIENT},
                _object({}),
                "token",
            )
        },
        "/introspect": {
            "post": _form(
                "introspect",
                "Ask whether a token is good, and for what (RFC 7662)",
                {"token": _TEXT, "token_type_hint": _TEXT, **_CLIENT},
                _object({"active": {"type": "boolean"}}, "active"),
                "token",
            )
        },
        "/userinfo": {"get": _userinfo("userinfo"), "post": _userinfo("userinfo_post")},
        "/register": {"post": _register()},
        "/register/client": _registration(),
        "/report-leak": {"post": _report()},
        "/limits": {"get": _limits()},
        "/jwks": {"get": _read("jwks", "Read the keys that tokens are signed with (RFC 7517)")},
    }
    if settings.device_path is not None:
        found["/device"] = {"post": _device()}
    if settings.plans:
        found["/plan"] = {"post": _plan(list(settings.plans))}
    return found


def _token(with_devices: bool) -> dict[str, Any]:
    grant_types = sorted(name for name in GRANT_TYPES if with_devices or "device_code" not in name)
    sent = {
        "grant_type": {**_TEXT, "enum": grant_types},
        **dict.fromkeys(("code", "redirect_uri", "code_verifier", "refresh_token", "scope", "resource"), _TEXT),
        **({"device_code": _TEXT} if with_devices else {}),
        **_CLIENT,
    }
    given = {"access_token": _TEXT, "token_type": _TEXT, "expires_in": _WHOLE, "scope": _TEXT}
    more = {"refresh_token": _TEXT, "id_token": _TEXT}
    answer = _object({**given, **more}, *given)
    return _form("token", "Get an access token (RFC 6749 §3.2)", sent, answer, "grant_type")


def _device() -> dict[str, Any]:
    given = {"device_code": _TEXT, "user_code": _TEXT, "verification_uri": _TEXT, "expires_in": _WHOLE}
    answer = _object({**given, "verification_uri_complete": _TEXT, "interval": _WHOLE}, *given)
    sent = {"scope": _TEXT, "resource": _TEXT, **_CLIENT}
    return _form("device", "Get codes for a device without a browser (RFC 8628 §3.1)", sent, answer)


def _userinfo(name: str) -> dict[str, Any]:
    made = _operation(name, "Read the claims of the person (OpenID Connect Core §5.3)", _object({"sub": _TEXT}, "sub"))
    made["responses"]["200"]["content"]["application/jwt"] = {"schema": _TEXT}  # where the client registered so
    return {**made, "security": _BEARER, "responses": {**made["responses"], **_refusals("401", "403", "429")}}


def _limits() -> dict[str, Any]:
    given = {
        "client_id": _TEXT,
        "plan": {"type": ["string", "null"]},
        "limits": {"type": "array", "items": _object({})},
    }
    answer = _object({**given, "quota": {"type": ["object", "null"]}}, *given)
    made = _operation("limits", "Read one's plan, limits and quota, and what remains; it costs none of them", answer)
    return {**made, "security": _BEARER, "responses": {**made["responses"], **_refusals("401", "429")}}


def _plan(plans: list[str]) -> dict[str, Any]:
    given = {"client_id": _TEXT, "plan": _TEXT, "waits_for": {"type": ["string", "null"]}}
    answer = _object({**given, "plans": {"type": "array", "items": _TEXT}}, *given, "plans")
    return _form("plan", "Read one's plan, or ask for another", {"plan": {**_TEXT, "enum": plans}, **_CLIENT}, answer)


def _register() -> dict[str, Any]:
    answer = _object({"client_id": _TEXT, "registration_access_token": _TEXT, "client_secret": _TEXT}, "client_id")
    made = _operation("register", "Register a client (RFC 7591 §3)", answer, "201")
    made["responses"] |= _refusals("401", "403", "413", "429")
    return {**made, "security": [*_BEARER, {}], "requestBody": _json_body(_CLIENT_METADATA)}


def _registration() -> dict[str, Any]:
    """A client reads, changes and ends its own registration (RFC 7592)."""
    answer = _object({"client_id": _TEXT}, "client_id")
    sent = {**_CLIENT_METADATA, "required": ["client_id"]}
    sent["properties"] = {"client_id": _TEXT, **_CLIENT_METADATA["properties"]}  # type: ignore[dict-item]
    item = {
        "get": _operation("registration_read", "Read one's own registration (RFC 7592 §2.1)", answer),
        "put": _operation("registration_change", "Change one's own registration (RFC 7592 §2.2)", answer),
        "delete": _operation("registration_end", "End one's own registration (RFC 7592 §2.3)", None, "204"),
    }
    item["put"]["requestBody"] = _json_body(sent)
    for operation in item.values():
        operation["security"] = _BEARER
        operation["parameters"] = [{"name": "client_id", "in": "query", "required": True, "schema": _TEXT}]
        operation["responses"] |= _refusals("401", "403", "413", "429")
    return item


def _report() -> dict[str, Any]:
    made = _operation("report_leak", "Report a leaked token or secret: it is ended", _object({}), "202")
    made["responses"] |= _refusals("413", "429")
    return {**made, "security": [], "requestBody": _form_body(_object({"token": _TEXT}, "token"))}


def _form(name: str, summary: str, sent: Mapping[str, Any], answer: dict[str, Any], *needed: str) -> dict[str, Any]:
    made = _operation(name, summary, answer)
    made["responses"] |= _refusals("401", "413", "429")
    return {**made, "security": _PROVEN, "requestBody": _form_body(_object(dict(sent), *needed))}


def _read(name: str, summary: str) -> dict[str, Any]:
    made = _operation(name.replace("-", "_"), summary, _object({}))
    del made["responses"]["400"]
    return {**made, "security": []}


def _operation(name: str, summary: str, answer: dict[str, Any] | None, status: str = "200") -> dict[str, Any]:
    content = {} if answer is None else {"content": {"application/json": {"schema": answer}}}
    answers = {status: {"description": "Done.", **content}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["OAuth"],
        "responses": {**answers, **_refusals("400", "503")},
    }


def _refusals(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": _REFUSALS[status], "content": content} for status in statuses}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _form_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}
