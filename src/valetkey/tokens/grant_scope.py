"""The scopes of a grant that the client's registration and plan allow now."""

from __future__ import annotations

from valetkey.caches.plans import PlanCache
from valetkey.protocol.scope import parse_scope
from valetkey.settings import Settings
from valetkey.storage.clients import Client
from valetkey.storage.grants import Grant


def current_scope(
    grant: Grant, client: Client | None, plans: PlanCache, settings: Settings, now: float
) -> frozenset[str]:
    """Return the scopes of a grant that the client's registration and plan still allow.

    :param client: the client of the grant; ``None`` if its registration is not known now, so that the plan decides.
    :raises StoreUnavailable: if the plan cannot be read.
    """
    scope = limit_scope_to_plan(parse_scope(grant.scope), grant.client_id, plans, settings, now)
    return scope if client is None or client.scope is None else scope & client.scope


def limit_scope_to_plan(
    scope: frozenset[str], client_id: str, plans: PlanCache, settings: Settings, now: float
) -> frozenset[str]:
    """Return a scope without the scopes that the client's plan does not allow; OpenID's own scopes always stay.

    :raises StoreUnavailable: if the plan cannot be read.
    """
    allowed = plans.get_allowed_scopes(client_id, now)
    return scope if allowed is None else scope - (settings.scopes.keys() - allowed)
