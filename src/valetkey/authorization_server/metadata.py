"""What clients can find out: authorization server metadata (RFC 8414) and the JWK set (RFC 7517)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any

from valetkey.endpoint import Call, MachineResponse
from valetkey.protocol.algorithms import ASSERTION_ALGORITHMS, SIGNING_ALGORITHMS
from valetkey.protocol.claims import STANDARD_CLAIMS
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE, SECRET_AUTH_METHODS
from valetkey.protocol.resource_owner import PASSWORD_ACR
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable

from .authorize.endpoint import PROMPTS, RESPONSE_MODES
from .token.endpoint import GRANT_TYPES

_CACHEABLE_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "public, max-age=300"))


def authorization_server_metadata(call: Call) -> MachineResponse:
    return _metadata_response(call, build_metadata)


def openid_configuration(call: Call) -> MachineResponse:
    return _metadata_response(call, build_openid_metadata)


def jwks(call: Call) -> MachineResponse:
    _refresh_feed(call)
    published = call.runtime.keys.jwks(call.now)
    return _cached_response(call.runtime, "jwks", published, lambda: published)


def _metadata_response(call: Call, build: Callable[[Runtime], Mapping[str, Any]]) -> MachineResponse:
    """Metadata says what the settings say, which stay, and which resources there are."""
    _refresh_feed(call)
    runtime = call.runtime
    return _cached_response(
        runtime, build.__name__, runtime.resources.all(), lambda: json.dumps(build(runtime)).encode()
    )


def _refresh_feed(call: Call) -> None:
    """Another process may have changed keys or resources; while the store is down what is known will do."""
    with suppress(StoreUnavailable):
        call.runtime.feed.refresh(call.now)


def _cached_response(runtime: Runtime, name: str, source: object, build_body: Callable[[], bytes]) -> MachineResponse:
    """A document that caches keep for a while, and then ask for by its tag (RFC 9110 §13.1.2).

    It is answered from memory as long as what it was made of is the same object: a third of the cost.
    """
    known = runtime.metadata_responses.get(name)
    if known is not None and known[0] is source:
        cached: MachineResponse = known[1]
        return cached
    body = build_body()
    answer = MachineResponse(200, body, (*_CACHEABLE_HEADERS, ("ETag", f'"{sha256(body).hexdigest()[:32]}"')))
    runtime.metadata_responses[name] = (source, answer)
    return answer


def build_metadata(runtime: Runtime) -> dict[str, Any]:
    """Only what works is advertised."""
    settings = runtime.settings
    base = settings.issuer + settings.oauth_path
    device = settings.device_path is not None
    proven = [*SECRET_AUTH_METHODS, "private_key_jwt"]
    algorithms = list(ASSERTION_ALGORITHMS)
    return {
        "issuer": settings.issuer,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        **({"device_authorization_endpoint": f"{base}/device"} if device else {}),
        "jwks_uri": f"{base}/jwks",
        "revocation_endpoint": f"{base}/revoke",
        "introspection_endpoint": f"{base}/introspect",
        "limits_endpoint": f"{base}/limits",
        **({"plan_endpoint": f"{base}/plan"} if settings.plans else {}),
        "scopes_supported": sorted(settings.known_scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": sorted(GRANT_TYPES.keys() - (set() if device else {DEVICE_CODE_GRANT_TYPE})),
        "token_endpoint_auth_methods_supported": [*proven, "none"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": [*proven, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": proven,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "acr_values_supported": [PASSWORD_ACR],  # says that acr_values and max_age are heeded (RFC 9470 §7)
        "protected_resources": sorted(runtime.resources.all()),
        **_registration_metadata(runtime, base),
    }


def _registration_metadata(runtime: Runtime, base: str) -> dict[str, Any]:
    """How clients that nobody has registered yet become known; nothing where they do not."""
    told: dict[str, Any] = {}
    if runtime.settings.registration != "closed":
        told["registration_endpoint"] = f"{base}/register"
    if runtime.settings.metadata_documents != "off":
        told["client_id_metadata_document_supported"] = True
    return told


def build_openid_metadata(runtime: Runtime) -> dict[str, Any]:
    """OpenID Provider metadata (OpenID Connect Discovery §3): the same, and what OpenID Connect adds."""
    base = runtime.settings.issuer + runtime.settings.oauth_path
    return {
        **build_metadata(runtime),
        "userinfo_endpoint": f"{base}/userinfo",
        **_logout_metadata(runtime),
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "userinfo_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "claim_types_supported": ["normal"],
        "claims_supported": ["sub", "auth_time", "acr", "amr", "sid", *sorted(STANDARD_CLAIMS)],
        "prompt_values_supported": list(PROMPTS),
        "display_values_supported": ["page", "popup", "touch", "wap"],
        "claims_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def _logout_metadata(runtime: Runtime) -> dict[str, Any]:
    """The end of a host's own sign-ins is told by back channel; here it can be ended only where the host says how."""
    back = {"backchannel_logout_supported": True, "backchannel_logout_session_supported": True}
    if not runtime.supports_sign_out:
        return back
    base = runtime.settings.issuer + runtime.settings.oauth_path
    front = {"frontchannel_logout_supported": True, "frontchannel_logout_session_supported": True}
    return {"end_session_endpoint": f"{base}/logout", **back, **front}
