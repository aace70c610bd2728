"""Discovery documents: authorization server metadata (RFC 8414), OpenID Provider metadata, JWK set (RFC 7517)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from valetkey.endpoint import Call, MachineResponse
from valetkey.protocol.algorithms import ASSERTION_ALGORITHMS, SIGNING_ALGORITHMS
from valetkey.protocol.claims import STANDARD_CLAIMS
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE, SECRET_AUTH_METHODS
from valetkey.protocol.etag import etag_of
from valetkey.protocol.json_encoding import encode_json
from valetkey.protocol.resource_owner import PASSWORD_ACR
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage.engine.transaction import StoreUnavailable

from .authorize.endpoint import PROMPTS, RESPONSE_MODES
from .token.endpoint import GRANT_TYPES

_CACHEABLE_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "public, max-age=300"))


def authorization_server_metadata(call: Call) -> MachineResponse:
    """Return the authorization server metadata as JSON (RFC 8414)."""
    return _metadata_response(call, build_metadata)


def openid_configuration(call: Call) -> MachineResponse:
    """Return the OpenID Provider metadata as JSON (OpenID Connect Discovery §4)."""
    return _metadata_response(call, build_openid_metadata)


def jwks(call: Call) -> MachineResponse:
    """Return the public keys that verify this server's tokens, as a JWK set (RFC 7517 §5)."""
    _refresh_feed(call)
    jwk_set = call.runtime.keys.jwks(call.now)
    return _cached_response(call.runtime.metadata_responses, "jwks", jwk_set, lambda: jwk_set)


def _metadata_response(call: Call, build: Callable[[Runtime], Mapping[str, Any]]) -> MachineResponse:
    """Return a metadata document as JSON, built by ``build`` from the settings and the list of resources.

    Settings do not change while a process runs, so the cached response is valid until the resources change.
    """
    _refresh_feed(call)
    runtime = call.runtime
    return _cached_response(
        runtime.metadata_responses, build.__name__, runtime.resources.all(), lambda: encode_json(build(runtime))
    )


def _refresh_feed(call: Call) -> None:
    """Load the keys and resources that other processes changed.

    If the database is down, the cached keys and resources are used.
    """
    with suppress(StoreUnavailable):
        call.runtime.feed.refresh()


def _cached_response(
    responses: dict[str, tuple[object, Any]], name: str, source: object, build_body: Callable[[], bytes]
) -> MachineResponse:
    """Return a JSON response that HTTP caches store for five minutes and then revalidate by ETag (RFC 9110 §13.1.2).

    The last response of this name is reused as long as ``source`` is the same object, which takes a third of the time
    of building a new one.

    :param responses: the last responses by name, each with its source.
    :param name: the name of the document, which is the key of its response in the cache.
    :param source: the object from which ``build_body`` builds the body; a new object means that the data changed.
    """
    entry = responses.get(name)
    if entry is not None and entry[0] is source:
        cached: MachineResponse = entry[1]
        return cached
    body = build_body()
    response = MachineResponse(200, body, (*_CACHEABLE_HEADERS, ("ETag", etag_of(body))))
    responses[name] = (source, response)
    return response


def build_metadata(runtime: Runtime) -> dict[str, Any]:
    """Return the authorization server metadata (RFC 8414 §2), which lists only enabled features."""
    settings = runtime.settings
    base = settings.issuer + settings.oauth_path
    device = settings.device_path is not None
    confidential_methods = [*SECRET_AUTH_METHODS, "private_key_jwt"]
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
        "token_endpoint_auth_methods_supported": [*confidential_methods, "none"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": [*confidential_methods, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": confidential_methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        # Announces support of acr_values and max_age (RFC 9470 §7).
        **({"acr_values_supported": [PASSWORD_ACR]} if runtime.knows_sign_ins else {}),
        "protected_resources": sorted(runtime.resources.all()),
        **_registration_metadata(runtime.settings, base),
    }


def _registration_metadata(settings: Settings, base: str) -> dict[str, Any]:
    """Return the metadata members for dynamic client registration and client metadata documents, if enabled."""
    members: dict[str, Any] = {}
    if settings.registration != "closed":
        members["registration_endpoint"] = f"{base}/register"
    if settings.metadata_documents != "off":
        members["client_id_metadata_document_supported"] = True
    return members


def build_openid_metadata(runtime: Runtime) -> dict[str, Any]:
    """Return the OpenID Provider metadata (OpenID Connect Discovery §3), which extends that of ``build_metadata``."""
    base = runtime.settings.issuer + runtime.settings.oauth_path
    sign_in_claims = ["auth_time", "acr", "amr", "sid", *sorted(STANDARD_CLAIMS)] if runtime.knows_sign_ins else []
    return {
        **build_metadata(runtime),
        "userinfo_endpoint": f"{base}/userinfo",
        **_logout_metadata(runtime),
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "userinfo_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "claim_types_supported": ["normal"],
        "claims_supported": ["sub", *sign_in_claims],
        "prompt_values_supported": list(PROMPTS) if runtime.knows_sign_ins else ["none", "consent"],
        "display_values_supported": ["page", "popup", "touch", "wap"],
        "claims_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def _logout_metadata(runtime: Runtime) -> dict[str, Any]:
    """Return the metadata members for OpenID Connect logout.

    Back-channel logout is always available. The logout endpoint and front-channel logout need accounts that can sign a
    user out: Valetkey's built-in accounts, or accounts of the host app that implement ``SupportsSignOut``.
    """
    back_channel = {
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": runtime.knows_sign_ins,
    }
    if not runtime.supports_sign_out:
        return back_channel
    base = runtime.settings.issuer + runtime.settings.oauth_path
    front_channel = {"frontchannel_logout_supported": True, "frontchannel_logout_session_supported": True}
    return {"end_session_endpoint": f"{base}/logout", **back_channel, **front_channel}
