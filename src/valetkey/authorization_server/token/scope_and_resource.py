"""The scope (RFC 6749 §3.3) and the resources (RFC 8707) of a request or token: read, check and narrow them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from valetkey.caches.resources import Resource
from valetkey.protocol.errors import InvalidGrant, InvalidScope, InvalidTarget
from valetkey.protocol.parameters import Parameters
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import normalize_resource, resource_uri_problem
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.settings.derived import OPENID_SCOPES
from valetkey.storage.clients import Client
from valetkey.storage.grants import Grant
from valetkey.tokens.access import Access
from valetkey.tokens.grant_scope import current_scope, limit_scope_to_plan

_MAX_ECHOED_LENGTH = 200  # characters of an invalid scope that an error repeats
_NO_SUPPORTED_SCOPE = "the resource supports none of the scopes"
_NO_COMMON_SCOPE = "the resources have no scope in common: request a token for each of them"


def resolve_request(
    parameters: Parameters, client: Client, runtime: Runtime, now: float, *, excluded: frozenset[str] = frozenset()
) -> Access:
    """Return the access that a client requests for a new grant.

    The scope consists of the scopes that at least one of the resources supports; ``resolve_grant`` decides which of
    them a token gets. With ``openid``, the issuer is added to the client's default resource, for userinfo.

    :param excluded: scopes that a request of this kind cannot get; they are left out.
    :raises InvalidScope: if the client's registration or plan does not allow a scope, or the client names no resource
        and its default resource supports none of the scopes.
    :raises InvalidTarget: if a resource is malformed, or is not registered at this server, or if the resources that
        the client names support none of the scopes.
    """
    return _resolve(parameters, client, runtime.resources.all(), runtime, now, excluded=excluded)


def _resolve(
    parameters: Parameters,
    client: Client,
    served: Mapping[str, Resource],
    runtime: Runtime,
    now: float,
    *,
    excluded: frozenset[str],
) -> Access:
    """Return what ``resolve_request`` returns.

    :param served: all resources by URL.
    """
    requested_scope = _check_scope(parameters.get("scope"), client, runtime, now) - excluded
    requested_resources = parameters.getlist("resource")
    resources = _read_resources(requested_resources, client, served, runtime.settings)
    scope = scope_of_any_resource(requested_scope, resources, served)
    if requested_scope and not scope:
        raise (InvalidTarget if requested_resources else InvalidScope)(_NO_SUPPORTED_SCOPE)
    if "openid" in scope and not requested_resources and runtime.settings.issuer not in resources:
        resources = (*resources, runtime.settings.issuer)
    return Access(client.client_id, scope, resources, None, now)


def resolve_request_of_client(
    parameters: Parameters, client: Client, runtime: Runtime, now: float, *, excluded: frozenset[str]
) -> Access:
    """Return the access that a client requests for itself (RFC 6749 §4.4): a scope that all its resources support.

    It raises what ``resolve_request`` raises.
    """
    served = runtime.resources.all()
    access = _resolve(parameters, client, served, runtime, now, excluded=excluded)
    if len(access.audience) == 1:  # what any resource supports is what all support
        return access
    return replace(access, scope=_limit_to_all_resources(access.scope, access.audience, served))


def resolve_grant(
    parameters: Parameters, grant: Grant, client: Client, runtime: Runtime, now: float, *, narrows_scope: bool = False
) -> Access:
    """Return the access that a token request of a grant gets: what it names, or else everything that was granted.

    A resource that was removed is left out, and so is a scope that the client's registration or plan does not allow any
    more, or that a resource of the token does not support.

    :param narrows_scope: whether the request may name a scope (RFC 6749 §6); otherwise ``scope`` is ignored.
    :raises InvalidScope: if it names a scope that was not granted.
    :raises InvalidTarget: if it names resources that were not granted or were removed (RFC 8707 §2.2), or if no scope
        is left that all resources of the token support.
    :raises InvalidGrant: if all resources or all scopes of the grant were removed: a token without a scope might be
        accepted by routes that require none.
    """
    served = runtime.resources.all()
    granted = tuple(resource for resource in grant.resource_list if resource in served)
    if not granted:
        raise InvalidGrant("the resource of the token was removed", log_detail=grant.resources)
    audience = _narrow_resources(parameters, granted)
    scope = scope_of_any_resource(
        current_scope(grant, client, runtime.subscriptions, runtime.settings, now), granted, served
    )
    if grant.scope and not scope:
        raise InvalidGrant("the scopes of the grant were removed", log_detail=grant.scope)
    if narrows_scope:
        scope = _narrow_scope(parameters, scope)
    scope = _limit_to_all_resources(scope, audience, served)
    return Access(grant.client_id, scope, audience, grant.owner, now)


def _read_resources(
    requested: Sequence[str], client: Client, served: Collection[str], settings: Settings
) -> tuple[str, ...]:
    """Return the resources that a request names in ``resource``, or the client's default resource if it names none.

    :raises InvalidTarget: if a resource is malformed, or is not registered at this server.
    """
    if requested:
        return tuple(
            dict.fromkeys(_find_resource(resource, served, "this resource is unknown") for resource in requested)
        )
    return (_find_resource(default_resource(client, settings), served, "the client's default resource is unknown"),)


def default_resource(client: Client, settings: Settings) -> str:
    """Return the resource that a client's requests are for if they name none."""
    return str(client.metadata.get("default_resource") or settings.api_resource)


def _narrow_resources(parameters: Parameters, granted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the resources that a token request names, or all resources of the grant if it names none.

    :param granted: the resources of the grant.
    :raises InvalidTarget: if a requested resource was not granted (RFC 8707 §2.2).
    """
    requested = parameters.getlist("resource")
    return (
        tuple(
            dict.fromkeys(_find_resource(resource, granted, "this resource was not granted") for resource in requested)
        )
        or granted
    )


def _find_resource(requested: str, candidates: Collection[str], error_message: str) -> str:
    """Return the resource among the candidates that equals the requested resource URI after normalization.

    :raises InvalidTarget: if none does; ``error_message`` is its description.
    """
    if requested in candidates:
        return requested
    normalized = None if resource_uri_problem(requested) else normalize_resource(requested)
    for candidate in candidates:
        if normalize_resource(candidate) == normalized:
            return candidate
    raise InvalidTarget(error_message)


def _narrow_scope(parameters: Parameters, granted: frozenset[str]) -> frozenset[str]:
    """Return the scope that a token request names, or the whole granted scope if it names none (RFC 6749 §6).

    :raises InvalidScope: if it names a scope that was not granted.
    """
    requested = parse_scope(parameters.get("scope"))
    if not requested <= granted:
        raise InvalidScope("the scope exceeds the granted scope")
    return requested or granted


def _check_scope(requested_scope: str | None, client: Client, runtime: Runtime, now: float) -> frozenset[str]:
    """Return the scope that a client requests, or its registered or default scope if it requests none (RFC 6749 §3.3).

    With ``openid``, unknown scopes are ignored (OpenID Connect Core §3.1.2.1).

    :raises InvalidScope: if the client's registration or plan does not allow a scope.
    """
    plans, settings = runtime.subscriptions, runtime.settings
    allowed = limit_scope_to_plan(frozenset(settings.known_scopes), client.client_id, plans, settings, now)
    if client.scope is not None:
        allowed &= client.scope
    default_scope = client.scope or parse_scope(client.metadata.get("default_scope")) or frozenset(settings.scopes)
    scope = parse_scope(requested_scope) or default_scope & allowed
    if "openid" in scope:
        scope &= settings.known_scopes.keys()
    if not scope <= allowed:
        message = f"the client may not request the scope {format_scope(scope - allowed)[:_MAX_ECHOED_LENGTH]}"
        if any("," in name for name in scope - allowed):
            message += ": separate scopes by spaces, not commas"
        not_in_plan = scope - limit_scope_to_plan(scope, client.client_id, plans, settings, now)
        raise InvalidScope(
            f"{message}: its plan has none of {format_scope(not_in_plan)[:_MAX_ECHOED_LENGTH]}"
            if not_in_plan
            else message
        )
    return scope


def scope_of_any_resource(
    scope: frozenset[str], audience: tuple[str, ...], served: Mapping[str, Resource]
) -> frozenset[str]:
    """Return a scope without the scopes that no resource of the audience supports. OpenID's own scopes stay.

    :param served: all resources by URL.
    """
    supported: set[str] = set()
    for url in audience:
        names = served[url].scopes
        if names is None:  # it supports all scopes
            return scope
        supported |= names
    return scope & (supported | OPENID_SCOPES.keys())


def _limit_to_all_resources(
    scope: frozenset[str], audience: tuple[str, ...], served: Mapping[str, Resource]
) -> frozenset[str]:
    """Return a scope without the scopes that a resource of the audience does not support. OpenID's own scopes stay.

    So no resource receives a token with a scope that the operator did not allow for it.

    :param served: all resources by URL.
    :raises InvalidTarget: if no scope is left.
    """
    limited = scope
    for url in audience:
        names = served[url].scopes
        if names is not None:
            limited &= names | OPENID_SCOPES.keys()
    if scope and not limited:
        raise InvalidTarget(_NO_SUPPORTED_SCOPE if len(audience) == 1 else _NO_COMMON_SCOPE)
    return limited
