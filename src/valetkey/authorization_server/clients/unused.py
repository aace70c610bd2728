"""Registrations that came to nothing are forgotten, so that an open door does not fill the house."""

from __future__ import annotations

from valetkey.activity.audit import audit
from valetkey.runtime import Runtime
from valetkey.storage import clients, registrations, revocations
from valetkey.storage.engine.transaction import Write

_DAY = 86400.0


def prune_unused_clients(runtime: Runtime) -> int:
    """Remove the clients that registered themselves long ago and were never used; how many.

    Never one that anybody gave anything, that the operator or an initial access token vouched for, or that may act
    for itself.
    """
    days, now = runtime.settings.unused_registration_days, runtime.clock()
    if not days:
        return 0
    before, removed = now - days * _DAY, 0
    for client_id in registrations.find_unused(runtime.store, before):
        _, secrets = clients.remove(client_id)
        rows = (
            secrets,
            registrations.remove(client_id),
            revocations.add("client", client_id, now, runtime.revocation_ends),
            audit("client.removed", now, client_id=client_id, detail=f"not used within {days} days"),
        )
        removed += runtime.write(Write(registrations.remove_unused(client_id, before), rows))
    return removed
