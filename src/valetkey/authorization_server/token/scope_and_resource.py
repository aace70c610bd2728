"""The scope (RFC 6749 §3.3) and the resources (RFC 8707) of a request or token: read, check and narrow them."""

from __future__ import annotations

from collections.abc import Collection

from valetkey.protocol.errors import InvalidScope, InvalidTarget
from valetkey.protocol.parameters import Parameters
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import normalize_resource, resource_uri_problem
from valetkey.runtime import Runtime
from valetkey.settings import OPENID_SCOPES
from valetkey.storage.clients import Client

_MAX_ECHOED_LENGTH = 200  # characters of an invalid scope that an error repeats


def read_resources(parameters: Parameters, runtime: Runtime, client: Client, scope: frozenset[str]) -> tuple[str, ...]:
    """Return the resources that a request names in ``resource``, or the client's default resource if it names none.

    :param scope: the scope of the request; if no resource is named, ``openid`` adds the issuer for userinfo.
    :raises InvalidTarget: if a resource is malformed, or is not registered at this server.
    """
    requested = parameters.getlist("resource")
    if not requested:
        default = str(client.metadata.get("default_resource") or runtime.settings.api_resource)
        # With openid, the issuer is added: it is the resource of the userinfo endpoint.
        issuer = runtime.settings.issuer
        return (default, issuer) if "openid" in scope and default != issuer else (default,)
    served = runtime.resources.all()
    return tuple(
        dict.fromkeys(_find_resource(resource, served, "this resource is not served here") for resource in requested)
    )


def narrow_resources(parameters: Parameters, granted: tuple[str, ...]) -> tuple[str, ...]:
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


def narrow_scope(parameters: Parameters, granted: frozenset[str]) -> frozenset[str]:
    """Return the scope that a token request names, or the whole granted scope if it names none (RFC 6749 §6).

    :raises InvalidScope: if it names a scope that was not granted.
    """
    requested = parse_scope(parameters.get("scope"))
    if not requested <= granted:
        raise InvalidScope("the scope goes beyond what was granted")
    return requested or granted


def check_scope(requested_scope: str | None, client: Client, runtime: Runtime) -> frozenset[str]:
    """Return the scope that a client requests, or its registered or default scope if it requests none (RFC 6749 §3.3).

    With ``openid``, unknown scopes are ignored (OpenID Connect Core §3.1.2.1).

    :raises InvalidScope: if the client's registration or plan does not allow a scope.
    """
    allowed = limit_scope_to_plan(frozenset(runtime.settings.known_scopes), client.client_id, runtime)
    if client.scope is not None:
        allowed &= client.scope
    default_scope = (
        client.scope or parse_scope(client.metadata.get("default_scope")) or frozenset(runtime.settings.scopes)
    )
    scope = parse_scope(requested_scope) or default_scope & allowed
    if "openid" in scope:
        scope &= runtime.settings.known_scopes.keys()
    if not scope <= allowed:
        message = f"the client may not ask for the scope {format_scope(scope - allowed)[:_MAX_ECHOED_LENGTH]}"
        not_in_plan = scope - limit_scope_to_plan(scope, client.client_id, runtime)
        raise InvalidScope(
            f"{message}: its plan has none of {format_scope(not_in_plan)[:_MAX_ECHOED_LENGTH]}"
            if not_in_plan
            else message
        )
    return scope


def limit_scope_to_plan(scope: frozenset[str], client_id: str, runtime: Runtime) -> frozenset[str]:
    """Return a scope without the scopes that the client's plan does not allow; OpenID's own scopes always stay."""
    allowed = runtime.subscriptions.get_allowed_scopes(client_id, runtime.clock())
    return scope if allowed is None else scope - (runtime.settings.scopes.keys() - allowed)


def limit_scope_to_resources(scope: frozenset[str], resources: tuple[str, ...], runtime: Runtime) -> frozenset[str]:
    """Return a scope without the scopes that none of the resources supports.

    So a token has no scope that its audience cannot use. OpenID's own scopes are not removed. Nothing is removed if
    one of the resources does not declare which scopes it supports.
    """
    scopes_by_resource = [
        runtime.resources.get(resource).scopes for resource in resources if resource in runtime.resources.all()
    ]
    if None in scopes_by_resource or not scopes_by_resource:
        return scope
    return scope & frozenset(OPENID_SCOPES).union(*(scopes for scopes in scopes_by_resource if scopes is not None))
