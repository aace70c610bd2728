"""Standard claims, and the ``claims`` parameter of authorization requests (OpenID Connect Core §5.1, §5.4, §5.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from .errors import InvalidRequest
from .request_body import parse_json_object

SCOPE_CLAIMS: Mapping[str, tuple[str, ...]] = {
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
}
STANDARD_CLAIMS: Mapping[str, type | tuple[type, ...]] = {  # claim name to JSON type
    **{name: str for names in SCOPE_CLAIMS.values() for name in names},
    "email_verified": bool,
    "phone_number_verified": bool,
    "address": dict,
    "updated_at": (int, float),
}
# Claims of tokens, which only the server sets: a claim about a user cannot have one of these names (OpenID Connect Core
# §2, RFC 7519 §4.1, RFC 7662 §2.2, RFC 9068 §2.2).
PROTOCOL_CLAIMS = frozenset(
    {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "nonce", "acr", "amr", "azp", "sid", "events"),
        *("at_hash", "c_hash", "s_hash", "sub_jwk", "client_id", "scope", "cnf", "act", "may_act", "active", "typ"),
        *("token_type", "username", "authorization_details", "seen_revocations", "_claim_names", "_claim_sources"),
    }
)
ADDRESS_MEMBERS = ("formatted", "street_address", "locality", "region", "postal_code", "country")
_MAX_LENGTH = 4000
_MAX_CLAIMS = 60

ClaimsRequest = Mapping[str, Mapping[str, Any]]


def parse_claims_parameter(text: str | None) -> ClaimsRequest:
    """Return the claims that the ``claims`` parameter requests, under the keys ``userinfo`` and ``id_token``.

    Under each key, a claim's name maps to what is requested of it, such as ``{"essential": True}``; this is empty for a
    voluntary claim with any value. Other members of the parameter are ignored. A requested value that is an object or
    array is replaced with ``None``, which no claim has. The result is empty if the parameter is absent.

    :raises InvalidRequest: if the parameter is not the JSON object that OpenID Connect Core §5.5 describes.
    """
    if text is None:
        return {}
    if len(text) > _MAX_LENGTH:
        raise InvalidRequest(f"claims is longer than {_MAX_LENGTH} characters")
    try:
        value = parse_json_object(text.encode())
    except ValueError as cause:
        raise InvalidRequest("claims is not a JSON object, or is nested too deeply") from cause
    requested: dict[str, Mapping[str, Any]] = {}
    for place in ("userinfo", "id_token"):
        members = {} if value.get(place) is None else value[place]
        if not isinstance(members, dict) or len(members) > _MAX_CLAIMS:
            raise InvalidRequest(f"claims: {place} is not an object")
        if not all(claim is None or isinstance(claim, dict) for claim in members.values()):
            raise InvalidRequest(f"claims: a member of {place} is neither null nor an object")
        if not all(isinstance(claim.get("values", []), list) for claim in members.values() if claim):
            raise InvalidRequest(f"claims: values of a member of {place} is not an array")
        requested[place] = {name: _simplify(claim or {}) for name, claim in members.items()}
    return requested


def _simplify(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is requested of a claim, without unknown members (OpenID Connect Core §5.5.1) and nested values."""

    def flatten(value: Any) -> Any:
        return None if isinstance(value, (dict, list)) else value

    simple: dict[str, Any] = {"essential": True} if claim.get("essential") is True else {}
    if "value" in claim:
        simple["value"] = flatten(claim["value"])
    if "values" in claim:
        simple["values"] = [flatten(value) for value in claim["values"]]
    return simple


def requested_values(requested_claim: Mapping[str, Any]) -> list[Any]:
    """Return the values that a client accepts for a requested claim; an empty list means any value.

    :param requested_claim: what is requested of the claim, such as ``{"values": ["a", "b"]}`` (OpenID Connect Core
        §5.5.1).
    """
    return [requested_claim["value"]] if "value" in requested_claim else list(requested_claim.get("values", ()))


@lru_cache(maxsize=512)
def claims_of_scope(scope: frozenset[str]) -> frozenset[str]:
    """Return the names of the claims that these scopes request (OpenID Connect Core §5.4)."""
    return frozenset(claim for name in scope for claim in SCOPE_CLAIMS.get(name, ()))


def describe_claims(names: Iterable[str]) -> str:
    """Return what a client may do that gets these claims, as users read it on pages."""
    return f"See your {', '.join(name.replace('_', ' ') for name in names)}"
