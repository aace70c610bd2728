"""How the access tokens of well-known products look: what each calls the app, the scope, the person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Claims = Mapping[str, Any]
Product = Literal["standard", "auth0", "cognito", "entra", "keycloak", "valetkey"]

AT_JWT = "at+jwt"  # RFC 9068 §2.1
JWT = "jwt"  # said, or meant by silence, of tokens from before RFC 9068


@dataclass(frozen=True, slots=True)
class TokenShape:
    """What a product's tokens are read by."""

    token_types: tuple[str, ...] = (AT_JWT, JWT)
    scope_claims: tuple[str, ...] = ("scope", "scp")  # the first that is there counts
    client_claims: tuple[str, ...] = ("client_id", "azp", "cid", "appid")
    is_machine: Callable[[Claims], bool] = lambda claims: False  # besides: no sub, or the client's own id


def _is_auth0_machine(claims: Claims) -> bool:
    return claims.get("gty") == "client-credentials"


def _is_entra_machine(claims: Claims) -> bool:
    """idtyp is an optional claim; without it: a token with no delegated scope speaks for the app itself."""
    return claims.get("idtyp") == "app" or "scp" not in claims


def _is_keycloak_machine(claims: Claims) -> bool:
    return str(claims.get("preferred_username", "")).startswith("service-account-")


TOKEN_SHAPES: Mapping[str, TokenShape] = {
    "standard": TokenShape(),
    "auth0": TokenShape(client_claims=("client_id", "azp"), is_machine=_is_auth0_machine),
    "cognito": TokenShape(token_types=(JWT,), scope_claims=("scope",), client_claims=("client_id",)),
    "entra": TokenShape(
        token_types=(JWT,),
        scope_claims=("scp", "roles"),  # roles: what an administrator gave an app that acts for itself
        client_claims=("azp", "appid"),
        is_machine=_is_entra_machine,
    ),
    "keycloak": TokenShape(client_claims=("azp", "client_id"), is_machine=_is_keycloak_machine),
    "valetkey": TokenShape(token_types=(AT_JWT,), scope_claims=("scope",), client_claims=("client_id",)),
}
