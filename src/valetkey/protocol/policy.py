"""What is demanded of a client, by named policy: one switch for all clients would fail somebody."""

from __future__ import annotations

from dataclasses import dataclass

from .algorithms import ASSERTION_ALGORITHMS

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"  # RFC 8628 §3.4


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for one kind of client (RFC 6749 §2.1, RFC 8252, RFC 9700)."""

    name: str
    about: str
    auth_methods: tuple[str, ...]  # the first is the default
    grant_types: tuple[str, ...]  # the default
    more_grant_types: tuple[str, ...] = ()  # allowed where a registration names them
    native: bool = False  # redirect URIs by RFC 8252 §7
    asks_each_time: bool = False  # the client's identity cannot be assured (RFC 8252 §8.6)
    pkce_required: bool = True
    assertion_algorithms: tuple[str, ...] = ASSERTION_ALGORITHMS
    assertion_for_issuer_only: bool = False  # aud of a client assertion; else the token endpoint too (RFC 7523 §3)


SECRET_METHODS = ("client_secret_basic", "client_secret_post")
_PROVEN = (*SECRET_METHODS, "private_key_jwt")

POLICIES = {
    policy.name: policy
    for policy in (
        Policy(
            "web",
            "a web application with a server that keeps a secret",
            _PROVEN,
            ("authorization_code", "refresh_token"),
            ("client_credentials", DEVICE_CODE),
        ),
        Policy(
            "browser",
            "an application in the browser",
            ("none",),
            ("authorization_code", "refresh_token"),
            (DEVICE_CODE,),
        ),
        Policy(
            "native",
            "a desktop, mobile or command-line application",
            ("none",),
            ("authorization_code", "refresh_token", DEVICE_CODE),
            native=True,
            asks_each_time=True,
        ),
        Policy(
            "oidc-compat",
            "an OpenID relying party from before PKCE was common",
            _PROVEN,
            ("authorization_code", "refresh_token"),
            ("client_credentials", DEVICE_CODE),
            pkce_required=False,
        ),
        Policy("machine", "a service that acts for itself", _PROVEN, ("client_credentials",)),
        Policy(
            "agent",
            "an application that describes itself in a document at its client_id",
            ("none", "private_key_jwt"),
            ("authorization_code", "refresh_token"),
            native=True,
            asks_each_time=True,
            assertion_algorithms=("ES256", "Ed25519", "EdDSA", "PS256"),
            assertion_for_issuer_only=True,
        ),
    )
}
