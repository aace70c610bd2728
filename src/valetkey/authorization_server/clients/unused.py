"""Removal of clients that registered themselves but were never used, so that they do not fill the database."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients, registrations
from valetkey.storage.engine.transaction import Transaction

_DAY_S = 86400.0


def prune_unused_clients(runtime: Runtime) -> int:
    """Remove clients that registered themselves and were not used within ``unused_registration_days`` days.

    Clients are kept if a user ever granted them access, if the operator approved them, if they registered with an
    initial access token, or if they may use the client credentials grant.

    :returns: the number of removed clients; 0 if the setting ``unused_registration_days`` is 0.
    """
    days, now = runtime.settings.unused_registration_days, runtime.clock()
    if not days:
        return 0
    before, removed = now - days * _DAY_S, 0
    for client_id in registrations.list_unused_client_ids(runtime.store, before):
        _, remove_secrets = clients.removal_statements(client_id)
        rows = (
            remove_secrets,
            registrations.remove(client_id),
            change_feed.add("client", client_id, now, runtime.revocation_expiry),
            audit_statement("client.removed", now, client_id=client_id, detail=f"not used within {days} days"),
        )
        removed += runtime.write(Transaction(registrations.remove_client_if_unused(client_id, before), rows))
    return removed
