"""Client metadata (RFC 7591 §2, OpenID Connect Dynamic Client Registration §2): judged, with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .client_members import Members, in_ascii, logout_problems, read_members
from .errors import InvalidClientMetadata, InvalidRedirectUri
from .policy import POLICIES, SECRET_METHODS, Policy
from .uri import is_app_redirect, redirect_uri_problem

_RESPONSE_TYPES = frozenset({"code"})


def read_client_metadata(
    sent: Mapping[str, Any], policy: Policy | None = None, *, is_vouched_for: bool = True
) -> tuple[Policy, dict[str, Any]]:
    """What is registered: the known members that were sent, judged, and the defaults of those that were not.

    Members that are not known are ignored (RFC 7591 §2). Grant and response types that are not served are left out
    of the answer where others remain (§3.2.1).

    :param policy: the rules to judge by; None where they follow from the metadata.
    :param is_vouched_for: whether the operator knows of the client; others may not act for themselves.
    :raises InvalidRedirectUri, InvalidClientMetadata: with the first problem (§3.2.2).
    """
    members = read_members(sent)
    rules = policy or _chosen_policy(members, is_vouched_for=is_vouched_for)
    metadata = {
        **members,
        "application_type": members.get("application_type", "native" if rules.native else "web"),
        "token_endpoint_auth_method": _read_auth_method(members, rules),
        "grant_types": _read_grant_types(members, rules, is_vouched_for=is_vouched_for),
    }
    metadata["response_types"] = _read_response_types(members, metadata["grant_types"])
    _check_redirect_uris(metadata, rules)
    _check_keys(metadata, rules)
    _check_sector(metadata)
    return rules, metadata


def _chosen_policy(members: Members, *, is_vouched_for: bool) -> Policy:
    if members.get("token_endpoint_auth_method", SECRET_METHODS[0]) == "none":
        return POLICIES["native" if _is_native(members) else "browser"]
    return POLICIES["machine" if is_vouched_for and members.get("grant_types") == ["client_credentials"] else "web"]


def _is_native(members: Members) -> bool:
    if "application_type" in members:
        return bool(members["application_type"] == "native")
    uris = members.get("redirect_uris", ())
    return bool(uris) and all(is_app_redirect(uri) for uri in uris)  # RFC 8252 §7.1, §7.3


def _read_auth_method(members: Members, rules: Policy) -> str:
    method = members.get("token_endpoint_auth_method", rules.auth_methods[0])
    if method not in rules.auth_methods:
        raise InvalidClientMetadata(f"token_endpoint_auth_method must be {' or '.join(rules.auth_methods)} here")
    return str(method)


def _read_grant_types(members: Members, rules: Policy, *, is_vouched_for: bool) -> list[str]:
    more = [one for one in rules.more_grant_types if is_vouched_for or one != "client_credentials"]
    served = (*rules.grant_types, *more)
    default = rules.grant_types[:1]  # authorization_code (RFC 7591 §2), but for services that act for themselves
    found = [one for one in members.get("grant_types", default) if one in served]
    if not found or found == ["refresh_token"]:
        raise InvalidClientMetadata(f"grant_types has none that is served; there are {', '.join(served)}")
    return found


def _read_response_types(members: Members, grant_types: list[str]) -> list[str]:
    """RFC 7591 §2.1: the response type and the grant type belong together."""
    has_code = "authorization_code" in grant_types
    sent = members.get("response_types", ["code"] if has_code else [])
    found = [one for one in sent if one in _RESPONSE_TYPES]
    if sent and not found:
        raise InvalidClientMetadata("response_types has none that is served; there is code")
    if has_code != bool(found):
        raise InvalidClientMetadata("grant_types and response_types do not fit: authorization_code goes with code")
    return found


def _check_redirect_uris(metadata: Members, rules: Policy) -> None:
    uris = metadata.get("redirect_uris", [])
    if not uris and "authorization_code" in metadata["grant_types"]:
        raise InvalidRedirectUri("at least one of redirect_uris is needed")
    for uri in uris:
        problem = redirect_uri_problem(uri, native=rules.native)
        if problem:
            raise InvalidRedirectUri(f"one of redirect_uris cannot be used: {in_ascii(problem)}")
    for problem in logout_problems(rules, metadata, uris):
        raise InvalidClientMetadata(in_ascii(problem))


def _check_keys(metadata: Members, rules: Policy) -> None:
    if "jwks" in metadata and "jwks_uri" in metadata:
        raise InvalidClientMetadata("jwks and jwks_uri exclude each other")
    if metadata["token_endpoint_auth_method"] != "private_key_jwt":
        return
    if not {"jwks", "jwks_uri"} & metadata.keys():
        raise InvalidClientMetadata("private_key_jwt needs jwks or jwks_uri")
    algorithm = metadata.get("token_endpoint_auth_signing_alg")
    if algorithm is not None and algorithm not in rules.assertion_algorithms:
        allowed = ", ".join(rules.assertion_algorithms)
        raise InvalidClientMetadata(f"token_endpoint_auth_signing_alg must be one of {allowed}")


def _check_sector(metadata: Members) -> None:
    """Whoever has redirect URIs on several hosts must say which sector they are (OpenID Connect Core §8.1)."""
    hosts = {urlsplit(uri).hostname for uri in metadata.get("redirect_uris", [])}
    if metadata.get("subject_type") == "pairwise" and len(hosts) > 1 and "sector_identifier_uri" not in metadata:
        raise InvalidClientMetadata("redirect_uris on several hosts need a sector_identifier_uri for pairwise subjects")
