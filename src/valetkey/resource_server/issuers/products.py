"""Access tokens of well-known products, such as Keycloak: their types, and the claims with client, scope and user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Claims = Mapping[str, Any]
Product = Literal["standard", "auth0", "cognito", "entra", "keycloak", "valetkey"]

AT_JWT = "at+jwt"  # RFC 9068 §2.1
JWT = "jwt"  # type of tokens from before RFC 9068; also stands for a missing typ


@dataclass(frozen=True, slots=True)
class TokenShape:
    """Accepted types of a product's access tokens, the claims with scope and client, and whether there is a user."""

    token_types: tuple[str, ...] = (AT_JWT, JWT)
    scope_claims: tuple[str, ...] = ("scope", "scp")  # the first one that a token has is used
    client_claims: tuple[str, ...] = ("client_id", "azp", "cid", "appid")
    # Whether the client acts for itself. It also does if sub is missing, or is the client's id.
    is_machine: Callable[[Claims], bool] = lambda claims: False


def _is_auth0_machine(claims: Claims) -> bool:
    return claims.get("gty") == "client-credentials"


def _is_entra_machine(claims: Claims) -> bool:
    """Return whether the client of a Microsoft Entra token acts for itself and not for a user.

    The claim ``idtyp`` says so, but it is optional. A client also acts for itself if the token has no delegated scope
    (``scp``).
    """
    return claims.get("idtyp") == "app" or "scp" not in claims


def _is_keycloak_machine(claims: Claims) -> bool:
    return str(claims.get("preferred_username", "")).startswith("service-account-")


TOKEN_SHAPES: Mapping[str, TokenShape] = {
    "standard": TokenShape(),
    "auth0": TokenShape(client_claims=("client_id", "azp"), is_machine=_is_auth0_machine),
    "cognito": TokenShape(token_types=(JWT,), scope_claims=("scope",), client_claims=("client_id",)),
    "entra": TokenShape(
        token_types=(JWT,),
        scope_claims=("scp", "roles"),  # roles: what an administrator granted to a client that acts for itself
        client_claims=("azp", "appid"),
        is_machine=_is_entra_machine,
    ),
    "keycloak": TokenShape(client_claims=("azp", "client_id"), is_machine=_is_keycloak_machine),
    "valetkey": TokenShape(token_types=(AT_JWT,), scope_claims=("scope",), client_claims=("client_id",)),
}
