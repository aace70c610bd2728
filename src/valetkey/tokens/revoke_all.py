"""Revoke everything that was issued: end all sessions and tokens in the database, and replace all signing keys."""

from __future__ import annotations

from valetkey.activity.audit import AuditEvent, audit_statement
from valetkey.storage import change_feed
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.revoke_all import end_credentials

from .encryption import Cipher
from .key_rotation import check_encryption_key, rotation_statements


def revoke_everything(
    store: Store, cipher: Cipher, now: float, event: AuditEvent, *, detail: str | None = None
) -> None:
    """End all sessions, grants, consents, codes, links and tokens of a database, and replace its signing keys.

    The keys are replaced last, so that no token is left that was signed meanwhile. JWTs and ID tokens become invalid
    also at resource servers that have never heard of a revocation, as soon as these fetch the keys again.

    :param now: seconds since 1970.
    :param event: the event to add to the audit log.
    :param detail: of the event.
    :raises StoreUnavailable: if the encryption key is missing or another one, and nothing is done; or if the database
        does not respond, and what was done until then remains. It can be called again.
    """
    check_encryption_key(store, cipher)
    # First, so that what requests in progress add from now on is refused or revoked.
    store.write(Transaction(rows=(change_feed.skip_ids(), change_feed.add("all", ""))))
    rotation = rotation_statements(store, cipher, now, publish_ahead_s=0, token_lifetime_s=0, emergency=True)
    end_credentials(store, now)
    store.write(
        Transaction(
            rows=(
                *rotation,
                change_feed.add("changed", "keys"),
                audit_statement(event, now, detail=detail),
            )
        )
    )
