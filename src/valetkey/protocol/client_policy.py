"""Client policies: the rules for each kind of OAuth client, such as ``web``, ``browser`` or ``machine``."""

from __future__ import annotations

from dataclasses import dataclass

from .algorithms import ASSERTION_ALGORITHMS

DEVICE_CODE_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"  # RFC 8628 §3.4


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """The rules for one kind of client, such as ``web`` or ``machine`` (RFC 6749 §2.1, RFC 8252, RFC 9700).

    A client that the operator adds without naming grant types gets all ``default_grant_types``; a client that registers
    itself without naming any gets the first one (RFC 7591 §2).
    """

    name: str
    description: str
    auth_methods: tuple[str, ...]  # of the token endpoint; the first is the default
    default_grant_types: tuple[str, ...]
    optional_grant_types: tuple[str, ...] = ()  # allowed if a registration names them
    native: bool = False  # redirect URIs follow RFC 8252 §7
    pkce_required: bool = True
    assertion_algorithms: tuple[str, ...] = ASSERTION_ALGORITHMS
    # Whether aud of a client assertion must be the issuer; else it may be the token endpoint too (RFC 7523 §3).
    assertion_audience_issuer_only: bool = False


SECRET_AUTH_METHODS = ("client_secret_basic", "client_secret_post")
_CONFIDENTIAL_AUTH_METHODS = (*SECRET_AUTH_METHODS, "private_key_jwt")

CLIENT_POLICIES = {
    policy.name: policy
    for policy in (
        ClientPolicy(
            "web",
            "a web application with a server that keeps a secret",
            _CONFIDENTIAL_AUTH_METHODS,
            ("authorization_code", "refresh_token"),
            ("client_credentials", DEVICE_CODE_GRANT_TYPE),
        ),
        ClientPolicy(
            "browser",
            "an application in the browser",
            ("none",),
            ("authorization_code", "refresh_token"),
            (DEVICE_CODE_GRANT_TYPE,),
        ),
        ClientPolicy(
            "native",
            "a desktop, mobile or command-line application",
            ("none",),
            ("authorization_code", "refresh_token", DEVICE_CODE_GRANT_TYPE),
            native=True,
        ),
        ClientPolicy(
            "oidc-compat",
            "an OpenID relying party that does not support PKCE",
            _CONFIDENTIAL_AUTH_METHODS,
            ("authorization_code", "refresh_token"),
            ("client_credentials", DEVICE_CODE_GRANT_TYPE),
            pkce_required=False,
        ),
        ClientPolicy("machine", "a service that acts for itself", _CONFIDENTIAL_AUTH_METHODS, ("client_credentials",)),
        ClientPolicy(
            "agent",
            "an application whose client_id is the URL of its metadata document",
            ("none", "private_key_jwt"),
            ("authorization_code", "refresh_token"),
            native=True,
            assertion_algorithms=("ES256", "Ed25519", "EdDSA", "PS256"),
            assertion_audience_issuer_only=True,
        ),
    )
}
