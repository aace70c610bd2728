"""OpenID Connect's standard claims and the ``claims`` parameter (OpenID Connect Core §5.1, §5.4, §5.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .errors import InvalidRequest

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
STANDARD_CLAIMS: Mapping[str, type | tuple[type, ...]] = {  # the JSON type of each
    **{name: str for names in SCOPE_CLAIMS.values() for name in names},
    "email_verified": bool,
    "phone_number_verified": bool,
    "address": dict,
    "updated_at": (int, float),
}
ADDRESS_MEMBERS = ("formatted", "street_address", "locality", "region", "postal_code", "country")
_MAX_LENGTH = 4000
_MAX_CLAIMS = 60

ClaimsRequest = Mapping[str, Mapping[str, Any]]


def parse_claims_parameter(text: str | None) -> ClaimsRequest:
    """What is asked for one by one, by place: ``userinfo`` and ``id_token``; unknown members are ignored.

    :raises InvalidRequest: where the parameter is not the JSON that §5.5 describes.
    """
    if text is None:
        return {}
    try:
        read = json.loads(text) if len(text) <= _MAX_LENGTH else None
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise InvalidRequest("claims is not a JSON object")
    asked: dict[str, Mapping[str, Any]] = {}
    for place in ("userinfo", "id_token"):
        members = {} if read.get(place) is None else read[place]
        if not isinstance(members, dict) or len(members) > _MAX_CLAIMS:
            raise InvalidRequest(f"claims: {place} is not an object")
        if not all(wish is None or isinstance(wish, dict) for wish in members.values()):
            raise InvalidRequest(f"claims: a member of {place} is neither null nor an object")
        if not all(isinstance(wish.get("values", []), list) for wish in members.values() if wish):
            raise InvalidRequest(f"claims: values of a member of {place} is not an array")
        asked[place] = {name: wish or {} for name, wish in members.items()}
    return asked


def requested_values(requested_claim: Mapping[str, Any]) -> list[Any]:
    """The values that a request for one claim accepts; empty: any."""
    return [requested_claim["value"]] if "value" in requested_claim else list(requested_claim.get("values", ()))


@lru_cache(maxsize=512)
def claims_of_scope(scope: frozenset[str]) -> frozenset[str]:
    return frozenset(claim for name in scope for claim in SCOPE_CLAIMS.get(name, ()))


def claim_problem(name: str, value: object) -> str | None:
    """Why a value cannot be this standard claim's; None where it can, or the claim is not a standard one."""
    wanted = STANDARD_CLAIMS.get(name)
    if wanted is None or (isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))):
        return _address_problem(value) if isinstance(value, dict) else None
    return f"the claim {name} has the wrong JSON type (OpenID Connect Core §5.1)"


def _address_problem(address: Mapping[str, object]) -> str | None:
    wrong = [name for name in ADDRESS_MEMBERS if not isinstance(address.get(name, ""), str)]
    return f"{' and '.join(wrong)} of the claim address must be texts (OpenID Connect Core §5.1.1)" if wrong else None
