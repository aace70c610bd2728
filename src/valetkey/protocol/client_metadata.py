"""Validation of client metadata, and its defaults (RFC 7591 §2, OpenID Connect Dynamic Client Registration §2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from .client_members import ClientMetadata, logout_problems, parse_members, to_error_description
from .client_policy import CLIENT_POLICIES, SECRET_AUTH_METHODS, ClientPolicy
from .errors import InvalidClientMetadata, InvalidRedirectUri
from .redirect_uri import has_private_use_scheme, is_native_redirect_uri, redirect_uri_problem

_MAX_SHOWN_LENGTH = 200  # characters of a URI in an error description
_RESPONSE_TYPES = frozenset({"code"})


def parse_client_metadata(
    submitted: Mapping[str, Any],
    policy: ClientPolicy | None = None,
    *,
    is_operator_approved: bool = True,
    unsupported_grant_types: Collection[str] = (),
    private_use_schemes: Collection[str] = (),
) -> tuple[ClientPolicy, dict[str, Any]]:
    """Return the client's policy (the rules for its kind of client) and its validated metadata with defaults added.

    Unsupported members are ignored (RFC 7591 §2). Unsupported grant types and response types are dropped if
    supported ones remain (§3.2.1).

    :param submitted: the client metadata as it was sent.
    :param policy: the policy to check against; ``None`` selects one by the metadata.
    :param is_operator_approved: whether the operator approved the client. Only such a client may act for itself
        (client credentials).
    :param unsupported_grant_types: grant types that the settings of the server have turned off.
    :param private_use_schemes: schemes without a dot that redirect URIs of native apps may have.
    :raises InvalidRedirectUri, InvalidClientMetadata: for the first member that is not acceptable (§3.2.2).
    """
    members = parse_members(submitted)
    rules = policy or _select_policy(members, is_operator_approved=is_operator_approved)
    metadata = {
        **members,
        "application_type": members.get("application_type", "native" if rules.native else "web"),
        "token_endpoint_auth_method": _parse_auth_method(members, rules),
        "grant_types": _parse_grant_types(
            members, rules, is_operator_approved=is_operator_approved, unsupported=unsupported_grant_types
        ),
    }
    metadata["response_types"] = _parse_response_types(members, metadata["grant_types"])
    _check_redirect_uris(metadata, rules, private_use_schemes)
    _check_keys(metadata, rules)
    _check_sector_identifier(metadata)
    return rules, metadata


def _select_policy(members: ClientMetadata, *, is_operator_approved: bool) -> ClientPolicy:
    if members.get("token_endpoint_auth_method", SECRET_AUTH_METHODS[0]) == "none":
        return CLIENT_POLICIES["native" if _is_native(members) else "browser"]
    return CLIENT_POLICIES[
        "machine" if is_operator_approved and members.get("grant_types") == ["client_credentials"] else "web"
    ]


def _is_native(members: ClientMetadata) -> bool:
    if "application_type" in members:
        return bool(members["application_type"] == "native")
    uris = members.get("redirect_uris", ())
    if any(has_private_use_scheme(uri) for uri in uris):  # some apps have such a URI beside https
        return True
    return bool(uris) and all(is_native_redirect_uri(uri) for uri in uris)  # RFC 8252 §7.1, §7.3


def _parse_auth_method(members: ClientMetadata, policy: ClientPolicy) -> str:
    method = members.get("token_endpoint_auth_method", policy.auth_methods[0])
    if method not in policy.auth_methods:
        raise InvalidClientMetadata(f"token_endpoint_auth_method must be {' or '.join(policy.auth_methods)} here")
    return str(method)


def _parse_grant_types(
    members: ClientMetadata, policy: ClientPolicy, *, is_operator_approved: bool, unsupported: Collection[str]
) -> list[str]:
    optional = [name for name in policy.optional_grant_types if is_operator_approved or name != "client_credentials"]
    supported = [name for name in (*policy.default_grant_types, *optional) if name not in unsupported]
    # The default is authorization_code (RFC 7591 §2), except for services that act for themselves.
    default = policy.default_grant_types[:1]
    grant_types = [name for name in members.get("grant_types", default) if name in supported]
    if not grant_types or grant_types == ["refresh_token"]:
        raise InvalidClientMetadata(f"grant_types must contain one of {', '.join(supported)}")
    return grant_types


def _parse_response_types(members: ClientMetadata, grant_types: list[str]) -> list[str]:
    """Return the client's response types: ``["code"]``, or none if it has no grant type ``authorization_code``.

    :raises InvalidClientMetadata: if the submitted types do not correspond to the grant types (RFC 7591 §2.1), or none
        of them is supported.
    """
    has_code = "authorization_code" in grant_types
    submitted = members.get("response_types", ["code"] if has_code else [])
    response_types = [name for name in submitted if name in _RESPONSE_TYPES]
    if submitted and not response_types:
        raise InvalidClientMetadata("response_types must contain code")
    if has_code != bool(response_types):
        raise InvalidClientMetadata("grant_types and response_types do not match: authorization_code requires code")
    return response_types


def _check_redirect_uris(metadata: ClientMetadata, policy: ClientPolicy, private_use_schemes: Collection[str]) -> None:
    uris = metadata.get("redirect_uris", [])
    if not uris and "authorization_code" in metadata["grant_types"]:
        raise InvalidRedirectUri("redirect_uris must contain at least one URI")
    for uri in uris:
        problem = redirect_uri_problem(uri, native=policy.native, private_use_schemes=private_use_schemes)
        if problem:
            shown = uri if len(uri) <= _MAX_SHOWN_LENGTH else f"{uri[:_MAX_SHOWN_LENGTH]}..."
            raise InvalidRedirectUri(to_error_description(f"redirect_uris: {shown} cannot be used: {problem}"))
    for problem in logout_problems(policy, metadata, uris, private_use_schemes):
        raise InvalidClientMetadata(to_error_description(problem))


def _check_keys(metadata: ClientMetadata, policy: ClientPolicy) -> None:
    if "jwks" in metadata and "jwks_uri" in metadata:
        raise InvalidClientMetadata("jwks and jwks_uri cannot both be set")
    if metadata["token_endpoint_auth_method"] != "private_key_jwt":
        return
    if not {"jwks", "jwks_uri"} & metadata.keys():
        raise InvalidClientMetadata("private_key_jwt needs jwks or jwks_uri")
    algorithm = metadata.get("token_endpoint_auth_signing_alg")
    if algorithm is not None and algorithm not in policy.assertion_algorithms:
        allowed = ", ".join(policy.assertion_algorithms)
        raise InvalidClientMetadata(f"token_endpoint_auth_signing_alg must be one of {allowed}")


def _check_sector_identifier(metadata: ClientMetadata) -> None:
    """Require ``sector_identifier_uri`` if a client has pairwise subjects and redirect URIs with several hosts.

    Without that member, the sector is the host of the redirect URIs (OpenID Connect Core §8.1).

    :raises InvalidClientMetadata: if the member is required but missing.
    """
    hosts = {urlsplit(uri).hostname for uri in metadata.get("redirect_uris", [])}
    if metadata.get("subject_type") == "pairwise" and len(hosts) > 1 and "sector_identifier_uri" not in metadata:
        raise InvalidClientMetadata("redirect_uris on several hosts need a sector_identifier_uri for pairwise subjects")
