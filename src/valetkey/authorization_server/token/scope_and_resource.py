"""The scope (RFC 6749 §3.3) and the resources (RFC 8707) of a request or token: read, check and narrow them."""

from __future__ import annotations

from collections.abc import Collection

from valetkey.caches.resources import ResourceCache
from valetkey.protocol.errors import InvalidScope, InvalidTarget
from valetkey.protocol.parameters import Parameters
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import normalize_resource, resource_uri_problem
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.settings.derived import OPENID_SCOPES
from valetkey.storage.clients import Client
from valetkey.storage.grants import Grant
from valetkey.tokens.access import Access

_MAX_ECHOED_LENGTH = 200  # characters of an invalid scope that an error repeats


def resolve_request(
    parameters: Parameters, client: Client, runtime: Runtime, now: float, *, excluded: frozenset[str] = frozenset()
) -> Access:
    """Return the access that a client requests, for a new grant or for itself.

    :param excluded: scopes that a request of this kind cannot get; they are left out.
    :raises InvalidScope: if the client's registration or plan does not allow a scope.
    :raises InvalidTarget: if a resource is malformed, or is not registered at this server.
    """
    scope = _check_scope(parameters.get("scope"), client, runtime, now) - excluded
    audience = _read_resources(parameters, client, scope, runtime.settings, runtime.resources)
    scope = limit_scope_to_resources(scope, audience, runtime.resources)
    return Access(client.client_id, scope, audience, None, now)


def resolve_grant(
    parameters: Parameters, grant: Grant, runtime: Runtime, now: float, *, narrows_scope: bool = False
) -> Access:
    """Return the access that a token request of a grant gets: what it names, or else everything that was granted.

    A scope that the client's plan does not allow any more, or that no resource of the audience supports, is left out.

    :param narrows_scope: whether the request may name a scope (RFC 6749 §6); otherwise ``scope`` is ignored.
    :raises InvalidScope: if it names a scope that was not granted.
    :raises InvalidTarget: if it names a resource that was not granted (RFC 8707 §2.2).
    """
    audience = _narrow_resources(parameters, grant.resource_list)
    scope = limit_scope_to_plan(parse_scope(grant.scope), grant.client_id, runtime, now)
    if narrows_scope:
        scope = _narrow_scope(parameters, scope)
    scope = limit_scope_to_resources(scope, audience, runtime.resources)
    return Access(grant.client_id, scope, audience, grant.owner, now)


def _read_resources(
    parameters: Parameters, client: Client, scope: frozenset[str], settings: Settings, resources: ResourceCache
) -> tuple[str, ...]:
    """Return the resources that a request names in ``resource``, or the client's default resource if it names none.

    :param scope: the scope of the request; if no resource is named, ``openid`` adds the issuer for userinfo.
    :raises InvalidTarget: if a resource is malformed, or is not registered at this server.
    """
    requested = parameters.getlist("resource")
    if not requested:
        default = str(client.metadata.get("default_resource") or settings.api_resource)
        # With openid, the issuer is added: it is the resource of the userinfo endpoint.
        issuer = settings.issuer
        return (default, issuer) if "openid" in scope and default != issuer else (default,)
    served = resources.all()
    return tuple(dict.fromkeys(_find_resource(resource, served, "this resource is unknown") for resource in requested))


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
    allowed = limit_scope_to_plan(frozenset(runtime.settings.known_scopes), client.client_id, runtime, now)
    if client.scope is not None:
        allowed &= client.scope
    default_scope = (
        client.scope or parse_scope(client.metadata.get("default_scope")) or frozenset(runtime.settings.scopes)
    )
    scope = parse_scope(requested_scope) or default_scope & allowed
    if "openid" in scope:
        scope &= runtime.settings.known_scopes.keys()
    if not scope <= allowed:
        message = f"the client may not request the scope {format_scope(scope - allowed)[:_MAX_ECHOED_LENGTH]}"
        not_in_plan = scope - limit_scope_to_plan(scope, client.client_id, runtime, now)
        raise InvalidScope(
            f"{message}: its plan has none of {format_scope(not_in_plan)[:_MAX_ECHOED_LENGTH]}"
            if not_in_plan
            else message
        )
    return scope


def limit_scope_to_plan(scope: frozenset[str], client_id: str, runtime: Runtime, now: float) -> frozenset[str]:
    """Return a scope without the scopes that the client's plan does not allow; OpenID's own scopes always stay."""
    allowed = runtime.subscriptions.get_allowed_scopes(client_id, now)
    return scope if allowed is None else scope - (runtime.settings.scopes.keys() - allowed)


def limit_scope_to_resources(
    scope: frozenset[str], audience: tuple[str, ...], resources: ResourceCache
) -> frozenset[str]:
    """Return a scope without the scopes that no resource of the audience supports.

    So a token has no scope that its audience cannot use. OpenID's own scopes are not removed. Nothing is removed if
    one of them does not declare which scopes it supports.
    """
    registered = resources.all()
    scopes_by_resource = [registered[resource].scopes for resource in audience if resource in registered]
    if None in scopes_by_resource or not scopes_by_resource:
        return scope
    return scope & frozenset(OPENID_SCOPES).union(*(scopes for scopes in scopes_by_resource if scopes is not None))
