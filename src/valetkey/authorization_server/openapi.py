"""OpenAPI document of the OAuth endpoints: the requests that programs send, and the responses that they receive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.settings import Settings

from .endpoints import METADATA, OPENID_CONFIGURATION
from .token.endpoint import GRANT_TYPES

_STRING: dict[str, Any] = {"type": "string"}
_INTEGER: dict[str, Any] = {"type": "integer"}
_CLIENT_PARAMETERS = {
    "client_id": {**_STRING, "description": "Required if the client does not send it in the Authorization header."},
    "client_secret": {**_STRING, "description": "With `client_id`, if the client sends its secret in the body."},
    "client_assertion_type": _STRING,
    "client_assertion": {**_STRING, "description": "A JWT that authenticates the client (RFC 7523)."},
}
_CLIENT_SECURITY: list[dict[str, list[str]]] = [{"client": []}, {}]  # {}: by parameters in the body
_BEARER_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]
_REFUSAL_DESCRIPTIONS = {
    "400": "The request is invalid; `error` says why (RFC 6749 §5.2).",
    "401": "The client or the token could not be authenticated.",
    "403": "The token does not allow this request.",
    "404": "Not found.",
    "413": "The body is larger than 64 KiB.",
    "429": "Too many requests; try again after `Retry-After` seconds.",
    "503": "The server is temporarily unavailable; try again after `Retry-After` seconds.",
}
_CLIENT_METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Client metadata (RFC 7591 §2).",
    "properties": {
        "client_name": _STRING,
        "redirect_uris": {"type": "array", "items": {**_STRING, "format": "uri"}},
        "grant_types": {"type": "array", "items": _STRING},
        "token_endpoint_auth_method": _STRING,
        "scope": _STRING,
    },
}


def build_oauth_document(settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI document of this server's OAuth endpoints, without those that the settings disable."""
    paths = {f"{settings.oauth_path}{path}": item for path, item in _path_items(settings).items()}
    for endpoint in (METADATA, OPENID_CONFIGURATION):
        paths[endpoint.path] = {
            "get": _read_operation(endpoint.name, "Read the server's endpoints and capabilities (RFC 8414 §3)")
        }
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
            "schemas": {"Error": _object_schema({"error": _STRING, "error_description": _STRING}, "error_description")},
        },
    }


def _path_items(settings: Settings) -> dict[str, dict[str, Any]]:
    items = {
        "/token": {"post": _token_operation(settings.device_path is not None)},
        "/revoke": {
            "post": _form_operation(
                "revoke",
                "Revoke a token of any kind (RFC 7009)",
                {"token": _STRING, "token_type_hint": _STRING, **_CLIENT_PARAMETERS},
                _object_schema({}),
                "token",
            )
        },
        "/introspect": {
            "post": _form_operation(
                "introspect",
                "Check whether a token is active, and read its members (RFC 7662)",
                {"token": _STRING, "token_type_hint": _STRING, **_CLIENT_PARAMETERS},
                _object_schema({"active": {"type": "boolean"}}, "active"),
                "token",
            )
        },
        "/userinfo": {"get": _userinfo_operation("userinfo"), "post": _userinfo_operation("userinfo_post")},
        "/register": {"post": _register_operation()},
        "/register/client": _registration_path_item(),
        "/report-leak": {"post": _leak_report_operation()},
        "/limits": {"get": _limits_operation()},
        "/jwks": {"get": _read_operation("jwks", "Read the public keys that verify tokens (RFC 7517)")},
    }
    if settings.device_path is not None:
        items["/device"] = {"post": _device_operation()}
    if settings.plans:
        items["/plan"] = {"post": _plan_operation(list(settings.plans))}
    return items


def _token_operation(device_flow_enabled: bool) -> dict[str, Any]:
    grant_types = sorted(name for name in GRANT_TYPES if device_flow_enabled or "device_code" not in name)
    request_properties = {
        "grant_type": {**_STRING, "enum": grant_types},
        **dict.fromkeys(("code", "redirect_uri", "code_verifier", "refresh_token", "scope", "resource"), _STRING),
        **({"device_code": _STRING} if device_flow_enabled else {}),
        **_CLIENT_PARAMETERS,
    }
    always = {"access_token": _STRING, "token_type": _STRING, "expires_in": _INTEGER, "scope": _STRING}
    sometimes = {"refresh_token": _STRING, "id_token": _STRING}
    response_schema = _object_schema({**always, **sometimes}, *always)
    return _form_operation(
        "token", "Get an access token (RFC 6749 §3.2)", request_properties, response_schema, "grant_type"
    )


def _device_operation() -> dict[str, Any]:
    always = {"device_code": _STRING, "user_code": _STRING, "verification_uri": _STRING, "expires_in": _INTEGER}
    response_schema = _object_schema({**always, "verification_uri_complete": _STRING, "interval": _INTEGER}, *always)
    request_properties = {"scope": _STRING, "resource": _STRING, **_CLIENT_PARAMETERS}
    return _form_operation(
        "device", "Get codes for a device without a browser (RFC 8628 §3.1)", request_properties, response_schema
    )


def _userinfo_operation(name: str) -> dict[str, Any]:
    operation = _operation(
        name, "Read the user's claims (OpenID Connect Core §5.3)", _object_schema({"sub": _STRING}, "sub")
    )
    operation["responses"]["200"]["content"]["application/jwt"] = {
        "schema": _STRING
    }  # if the client registered userinfo_signed_response_alg
    return {
        **operation,
        "security": _BEARER_SECURITY,
        "responses": {**operation["responses"], **_refusal_responses("401", "403", "429")},
    }


def _limits_operation() -> dict[str, Any]:
    always = {
        "client_id": _STRING,
        "plan": {"type": ["string", "null"]},
        "limits": {"type": "array", "items": _object_schema({})},
    }
    response_schema = _object_schema({**always, "quota": {"type": ["object", "null"]}}, *always)
    operation = _operation(
        "limits",
        "Read your plan, limits and quota, and what remains; the call counts against none of them",
        response_schema,
    )
    return {
        **operation,
        "security": _BEARER_SECURITY,
        "responses": {**operation["responses"], **_refusal_responses("401", "429")},
    }


def _plan_operation(plans: list[str]) -> dict[str, Any]:
    always = {"client_id": _STRING, "plan": _STRING, "waits_for": {"type": ["string", "null"]}}
    response_schema = _object_schema({**always, "plans": {"type": "array", "items": _STRING}}, *always, "plans")
    return _form_operation(
        "plan",
        "Read your plan, or request another",
        {"plan": {**_STRING, "enum": plans}, **_CLIENT_PARAMETERS},
        response_schema,
    )


def _register_operation() -> dict[str, Any]:
    response_schema = _object_schema(
        {
            "client_id": _STRING,
            "registration_access_token": _STRING,
            "client_secret": _STRING,
            "scope_notice": {**_STRING, "description": "The requested scopes that were not registered, and why."},
        },
        "client_id",
    )
    operation = _operation("register", "Register a client (RFC 7591 §3)", response_schema, "201")
    operation["responses"] |= _refusal_responses("401", "403", "413", "429")
    return {**operation, "security": [*_BEARER_SECURITY, {}], "requestBody": _json_body(_CLIENT_METADATA_SCHEMA)}


def _registration_path_item() -> dict[str, Any]:
    """Return the OpenAPI path item of the client configuration endpoint: read, change, delete (RFC 7592)."""
    response_schema = _object_schema({"client_id": _STRING}, "client_id")
    request_schema = {**_CLIENT_METADATA_SCHEMA, "required": ["client_id"]}
    request_schema["properties"] = {"client_id": _STRING, **_CLIENT_METADATA_SCHEMA["properties"]}
    item = {
        "get": _operation("registration_read", "Read your registration (RFC 7592 §2.1)", response_schema),
        "put": _operation("registration_change", "Change your registration (RFC 7592 §2.2)", response_schema),
        "delete": _operation("registration_end", "Delete your registration (RFC 7592 §2.3)", None, "204"),
    }
    item["put"]["requestBody"] = _json_body(request_schema)
    for operation in item.values():
        operation["security"] = _BEARER_SECURITY
        operation["parameters"] = [{"name": "client_id", "in": "query", "required": True, "schema": _STRING}]
        operation["responses"] |= _refusal_responses("401", "403", "413", "429")
    return item


def _leak_report_operation() -> dict[str, Any]:
    operation = _operation(
        "report_leak", "Report a leaked token or client secret, which is revoked", _object_schema({}), "202"
    )
    operation["responses"] |= _refusal_responses("413", "429")
    return {**operation, "security": [], "requestBody": _form_body(_object_schema({"token": _STRING}, "token"))}


def _form_operation(
    name: str, summary: str, request_properties: Mapping[str, Any], response_schema: dict[str, Any], *required: str
) -> dict[str, Any]:
    operation = _operation(name, summary, response_schema)
    operation["responses"] |= _refusal_responses("401", "413", "429")
    return {
        **operation,
        "security": _CLIENT_SECURITY,
        "requestBody": _form_body(_object_schema(dict(request_properties), *required)),
    }


def _read_operation(name: str, summary: str) -> dict[str, Any]:
    operation = _operation(name.replace("-", "_"), summary, _object_schema({}))
    del operation["responses"]["400"]
    return {**operation, "security": []}


def _operation(name: str, summary: str, response_schema: dict[str, Any] | None, status: str = "200") -> dict[str, Any]:
    content = {} if response_schema is None else {"content": {"application/json": {"schema": response_schema}}}
    success = {status: {"description": "Success.", **content}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["OAuth"],
        "responses": {**success, **_refusal_responses("400", "503")},
    }


def _refusal_responses(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": _REFUSAL_DESCRIPTIONS[status], "content": content} for status in statuses}


def _object_schema(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _form_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}
