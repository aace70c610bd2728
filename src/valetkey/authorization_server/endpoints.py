"""Table of the authorization server's machine endpoints, i.e. those that programs call and no browser visits."""

from __future__ import annotations

from valetkey.endpoint import Endpoint

from .clients.logo_endpoint import serve_logo
from .clients.management_endpoint import manage_registration
from .clients.registration_endpoint import register_itself
from .device.device_authorization_endpoint import device_authorization
from .metadata import authorization_server_metadata, jwks, openid_configuration
from .openid.userinfo import userinfo
from .personal_tokens.endpoint import delete_personal_token, list_or_create_personal_tokens
from .plans.endpoint import read_or_request_plan
from .token.endpoint import handle_token_request
from .token_management.introspection_endpoint import introspect
from .token_management.leak_report_endpoint import report_leak
from .token_management.revocation_endpoint import revoke

# Paths are relative to the setting ``oauth_path``.
ENDPOINTS = (
    Endpoint("token", "/token", ("POST",), handle_token_request, cors=True),
    Endpoint("device", "/device", ("POST",), device_authorization, cors=True),
    Endpoint("revoke", "/revoke", ("POST",), revoke, cors=True),
    Endpoint("introspect", "/introspect", ("POST",), introspect),
    Endpoint("userinfo", "/userinfo", ("GET", "HEAD", "POST"), userinfo, cors=True, uses_bearer_token=True),
    Endpoint("register", "/register", ("POST",), register_itself, cors=True, uses_bearer_token=True, reads_json=True),
    Endpoint(
        "registration",
        "/register/client",
        ("GET", "HEAD", "PUT", "DELETE"),
        manage_registration,
        cors=True,
        uses_bearer_token=True,
        reads_json=True,
    ),
    Endpoint(
        "personal-tokens",
        "/personal-tokens",
        ("GET", "POST"),
        list_or_create_personal_tokens,
        cors=True,
        uses_bearer_token=True,
        reads_json=True,
    ),
    Endpoint(
        "personal-token",
        "/personal-tokens/<token_id>",
        ("DELETE",),
        delete_personal_token,
        cors=True,
        uses_bearer_token=True,
    ),
    Endpoint("plan", "/plan", ("POST",), read_or_request_plan),
    Endpoint("report-leak", "/report-leak", ("POST",), report_leak, reads_raw_body=True),
    Endpoint("logo", "/logo", ("GET", "HEAD"), serve_logo),
    Endpoint("jwks", "/jwks", ("GET", "HEAD"), jwks, cors=True),
)
# Paths are relative to the issuer (RFC 8414 §3).
METADATA = Endpoint(
    "metadata",
    "/.well-known/oauth-authorization-server",
    ("GET", "HEAD"),
    authorization_server_metadata,
    cors=True,
)
OPENID_CONFIGURATION = Endpoint(
    "openid-configuration", "/.well-known/openid-configuration", ("GET", "HEAD"), openid_configuration, cors=True
)
