"""What clients can find out: authorization server metadata (RFC 8414) and the JWK set (RFC 7517)."""

from __future__ import annotations

from typing import Any

from valetkey.runtime import Answer, Call, Runtime, json_answer

from .token_endpoint import GRANT_TYPES

_CACHED = (("Content-Type", "application/json"), ("Cache-Control", "public, max-age=300"))


def authorization_server_metadata(call: Call) -> Answer:
    return Answer(200, json_answer(metadata(call.runtime)).body, _CACHED)


def jwks(call: Call) -> Answer:
    return Answer(200, call.runtime.keys.jwks(call.now), _CACHED)


def metadata(runtime: Runtime) -> dict[str, Any]:
    """Only what works is advertised."""
    settings = runtime.settings
    base = settings.issuer + settings.oauth_path
    secret = ["client_secret_basic", "client_secret_post"]
    return {
        "issuer": settings.issuer,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "jwks_uri": f"{base}/jwks",
        "revocation_endpoint": f"{base}/revoke",
        "introspection_endpoint": f"{base}/introspect",
        "scopes_supported": sorted(settings.scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": sorted(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": [*secret, "none"],
        "revocation_endpoint_auth_methods_supported": [*secret, "none"],
        "introspection_endpoint_auth_methods_supported": secret,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "protected_resources": sorted(runtime.resources.all()),
    }
