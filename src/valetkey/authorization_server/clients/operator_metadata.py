"""Check the metadata of clients that the operator registers, whose mistakes are reported together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from valetkey.protocol.client_members import is_supported_member, logout_problems, parse_members
from valetkey.protocol.client_metadata import parse_client_metadata
from valetkey.protocol.client_policy import ClientPolicy
from valetkey.protocol.display_name import display_name_problem
from valetkey.protocol.errors import InvalidScope, OAuthError
from valetkey.protocol.redirect_uri import redirect_uri_problem
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import resource_uri_problem
from valetkey.settings import Settings

# Metadata that only the operator may set:
# - default_resource: the audience of the client's tokens if it requests none.
# - claims_in_id_token: whether the ID token has the claims of the granted scopes; by default only userinfo has them.
# - introspection: which tokens the client may introspect, one of INTROSPECTION_CHOICES.
# - introspection_resources: the resources whose access tokens it may introspect, if introspection is "resource".
OPERATOR_ONLY_MEMBERS = frozenset(
    {"default_resource", "claims_in_id_token", "introspection", "introspection_resources"}
)
INTROSPECTION_CHOICES = ("own", "resource", "any")


class RegistrationRefused(Exception):
    """The client cannot be registered or changed as requested; the message lists every problem."""


def validate_operator_metadata(settings: Settings, policy: ClientPolicy, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Check the metadata of a client against its policy and return the metadata to store.

    :param sent: the client metadata to check, with the member names of RFC 7591 §2.
    :raises RegistrationRefused: if the metadata is not valid; common mistakes are reported together in one message.
    """
    _check_member_types(sent)
    uris, grant_types, scope = sent.get("redirect_uris", ()), sent["grant_types"], sent.get("scope")
    problems = [*_name_problems(sent["client_name"]), *_redirect_problems(settings, policy, uris, grant_types)]
    problems += _scope_problems(settings, scope) + _grant_type_problems(policy, grant_types)
    schemes = settings.redirect_schemes
    problems += logout_problems(policy, sent, uris, schemes)
    unknown = [name for name in sent if name not in OPERATOR_ONLY_MEMBERS and not is_supported_member(name)]
    problems += [f"unknown client metadata member: {name}" for name in unknown]
    problems += _operator_member_problems(sent)
    if problems:
        raise RegistrationRefused("\n".join(problems))
    try:
        _, metadata = parse_client_metadata(sent, policy, private_use_schemes=schemes)
    except OAuthError as refusal:
        raise RegistrationRefused(refusal.description) from refusal
    metadata |= {name: sent[name] for name in OPERATOR_ONLY_MEMBERS if name in sent}
    if scope:
        metadata["scope"] = format_scope(parse_scope(scope))
    return metadata


def _operator_member_problems(sent: Mapping[str, Any]) -> list[str]:
    problems = []
    if not isinstance(sent.get("claims_in_id_token", False), bool):
        problems.append("claims_in_id_token must be true or false")
    choice, resources = sent.get("introspection", "own"), sent.get("introspection_resources", [])
    if choice not in INTROSPECTION_CHOICES:
        problems.append(f"introspection must be one of {', '.join(INTROSPECTION_CHOICES)}")
    if not isinstance(resources, list) or not all(isinstance(uri, str) for uri in resources):
        return [*problems, "introspection_resources must be an array of resource identifiers"]
    for uri in resources:
        if problem := resource_uri_problem(uri):
            problems.append(f"introspection_resources {uri!r}: {problem}")
    if choice == "resource" and not resources:
        problems.append("introspection is resource, but no resource is named: add --introspection-resource")
    if choice != "resource" and resources:
        problems.append(
            f"introspection is {choice}, but introspection_resources names {', '.join(resources)}: "
            "to remove them, add --introspection-resource ''"
        )
    return problems


def _check_member_types(sent: Mapping[str, Any]) -> None:
    """Check that each member of client metadata has the right JSON type, because the other checks rely on it.

    :raises RegistrationRefused: if a member has another type.
    """
    try:
        parse_members({name: value for name, value in sent.items() if name != "client_name"})
    except OAuthError as refusal:
        raise RegistrationRefused(refusal.description) from refusal


def _name_problems(name: Any) -> list[str]:
    problem = display_name_problem(name) if isinstance(name, str) else "must be a text of 1 to 100 characters"
    return [f"the name {problem}"] if problem else []


def _redirect_problems(
    settings: Settings, policy: ClientPolicy, uris: Sequence[str], grant_types: Sequence[str]
) -> list[str]:
    schemes = settings.redirect_schemes
    checked = ((uri, redirect_uri_problem(uri, native=policy.native, private_use_schemes=schemes)) for uri in uris)
    problems = [f"redirect URI {uri!r}: {problem}" for uri, problem in checked if problem]
    uses_code = "authorization_code" in (grant_types or policy.default_grant_types)
    if not uris and uses_code:
        problems.append("at least one redirect URI is needed (--redirect-uri)")
    if uris and "authorization_code" not in {*policy.default_grant_types, *policy.optional_grant_types}:
        problems.append(f"a {policy.name} client cannot have a redirect URI: it does not use authorization codes")
    return problems


def _scope_problems(settings: Settings, scope: str | None) -> list[str]:
    try:
        unknown = parse_scope(scope) - settings.known_scopes.keys()
    except InvalidScope as refusal:
        return [refusal.description]
    if not unknown:
        return []
    hint = "; separate scopes by spaces" if any("," in name for name in unknown) else ""
    return [f"unknown scope: {format_scope(unknown)} (available: {', '.join(sorted(settings.known_scopes))}){hint}"]


def _grant_type_problems(policy: ClientPolicy, grant_types: Sequence[str]) -> list[str]:
    allowed = (*policy.default_grant_types, *policy.optional_grant_types)
    return [
        f"the policy {policy.name} does not allow the grant type {grant_type}, but {', '.join(allowed)}"
        for grant_type in grant_types
        if grant_type not in allowed
    ]
