"""Removal of clients that registered themselves but were never used, so that they do not fill the database."""

from __future__ import annotations

from valetkey.runtime import Runtime
from valetkey.storage import registrations

from .service import end_client

_DAY_S = 86400.0


def prune_unused_clients(runtime: Runtime, now: float) -> int:
    """Remove clients that registered themselves and were not used within ``unused_registration_days`` days.

    Clients are kept if a user ever granted them access, if the operator approved them, if they registered with an
    initial access token, or if they may use the client credentials grant.

    :returns: the number of removed clients; 0 if the setting ``unused_registration_days`` is 0.
    """
    days = runtime.settings.unused_registration_days
    if not days:
        return 0
    before, removed = now - days * _DAY_S, 0
    for client_id in registrations.list_unused_client_ids(runtime.store, before):
        condition = registrations.remove_client_if_unused(client_id, before)
        removed += end_client(runtime.store, client_id, now, condition=condition, detail=f"not used within {days} days")
    return removed
