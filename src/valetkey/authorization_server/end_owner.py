"""The end of a resource owner's access: what is ended and revoked, for every way in which it ends."""

from __future__ import annotations

from valetkey.runtime import Runtime
from valetkey.storage import change_feed, grants, mail_links, personal_access_tokens, provider_links
from valetkey.storage.engine.statement import BoundStatement

from .openid.session_logout import owner_logout_statements


def end_owner(runtime: Runtime, sub: str, now: float, *rows: BoundStatement) -> None:
    """End the mailed links, grants and tokens of a resource owner, in every process, and drop tokens of providers.

    Clients that registered for it are sent logout tokens. The account and the consents stay: only the owner withdraws a
    consent. ``tests/security/test_ends_in_every_table.py`` has the decision for each table.

    :param rows: SQL statements to execute before, in the same transaction, such as those that disable the account and
        end its sessions.
    """
    runtime.store.write_all(
        *rows,
        mail_links.invalidate_all_of_account(sub, now),
        *owner_logout_statements(sub, runtime, now),
        grants.revoke_all_of_owner(sub, now),
        personal_access_tokens.revoke_all_of_owner(sub, now),
        provider_links.remove_tokens_of_account(sub),
        change_feed.add("owner", sub),
    )
