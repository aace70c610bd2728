"""The target of a token: resource indicators (RFC 8707) and the scope that goes with them."""

from __future__ import annotations

from collections.abc import Collection

from valetkey.protocol.errors import InvalidScope, InvalidTarget
from valetkey.protocol.parameters import Parameters
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import normalize_resource, resource_uri_problem
from valetkey.runtime import Runtime
from valetkey.settings import OPENID_SCOPES
from valetkey.storage.clients import Client

_MAX_ECHOED_LENGTH = 200  # characters at the most of a scope that is told back


def read_resources(parameters: Parameters, runtime: Runtime, client: Client, scope: frozenset[str]) -> tuple[str, ...]:
    """The resources that a request names, or the client's default one.

    :raises InvalidTarget: where one is malformed or not served here.
    """
    asked = parameters.getlist("resource")
    if not asked:
        default = str(client.metadata.get("default_resource") or runtime.settings.api_resource)
        # The issuer too where openid is asked for: userinfo is its resource.
        issuer = runtime.settings.issuer
        return (default, issuer) if "openid" in scope and default != issuer else (default,)
    served = runtime.resources.all()
    return tuple(dict.fromkeys(_find_resource(one, served, "this resource is not served here") for one in asked))


def narrow_resources(parameters: Parameters, granted: tuple[str, ...]) -> tuple[str, ...]:
    """The resources of a token: those asked for, if the grant has them; all of the grant's where none is named.

    :raises InvalidTarget: where one was not granted (RFC 8707 §2.2).
    """
    asked = parameters.getlist("resource")
    return (
        tuple(dict.fromkeys(_find_resource(one, granted, "this resource was not granted") for one in asked)) or granted
    )


def _find_resource(requested: str, candidates: Collection[str], error_message: str) -> str:
    """The resource that is meant, as it is written here."""
    if requested in candidates:
        return requested
    meant = None if resource_uri_problem(requested) else normalize_resource(requested)
    for one in candidates:
        if normalize_resource(one) == meant:
            return one
    raise InvalidTarget(error_message)


def narrow_scope(parameters: Parameters, granted: frozenset[str]) -> frozenset[str]:
    """The scope of a token: what is asked for, if it was granted; all of it where none is named (RFC 6749 §6).

    :raises InvalidScope: where more is asked for.
    """
    asked = parse_scope(parameters.get("scope"))
    if not asked <= granted:
        raise InvalidScope("the scope goes beyond what was granted")
    return asked or granted


def check_scope(requested_scope: str | None, client: Client, runtime: Runtime) -> frozenset[str]:
    """The scope that a client asks for; its whole registered scope where it names none (RFC 6749 §3.3).

    With ``openid`` a name that nobody knows here is ignored (OpenID Connect Core §3.1.2.1).

    :raises InvalidScope: where a name is not among those that it registered.
    """
    allowed = limit_scope_to_plan(frozenset(runtime.settings.known_scopes), client.client_id, runtime)
    if client.scope is not None:
        allowed &= client.scope
    usual = client.scope or parse_scope(client.metadata.get("default_scope")) or frozenset(runtime.settings.scopes)
    asked = parse_scope(requested_scope) or usual & allowed
    if "openid" in asked:
        asked &= runtime.settings.known_scopes.keys()
    if not asked <= allowed:
        told = f"the client may not ask for the scope {format_scope(asked - allowed)[:_MAX_ECHOED_LENGTH]}"
        by_plan = asked - limit_scope_to_plan(asked, client.client_id, runtime)
        raise InvalidScope(
            f"{told}: its plan has none of {format_scope(by_plan)[:_MAX_ECHOED_LENGTH]}" if by_plan else told
        )
    return asked


def limit_scope_to_plan(scope: frozenset[str], client_id: str, runtime: Runtime) -> frozenset[str]:
    """What of a scope the client's plan allows. A plan speaks of the publisher's scopes only, not of OpenID's own."""
    allowed = runtime.subscriptions.get_allowed_scopes(client_id, runtime.clock())
    return scope if allowed is None else scope - (runtime.settings.scopes.keys() - allowed)


def limit_scope_to_resources(scope: frozenset[str], resources: tuple[str, ...], runtime: Runtime) -> frozenset[str]:
    """The part of a scope that the resources know: a token carries no scope that its audience cannot read."""
    known = [runtime.resources.get(resource).scopes for resource in resources if resource in runtime.resources.all()]
    if None in known or not known:
        return scope
    return scope & frozenset(OPENID_SCOPES).union(*(names for names in known if names is not None))
