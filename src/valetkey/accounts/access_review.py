"""Review of the access that survives a new password: apps and personal access tokens.

After a reset, the review stays due until the user submits it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from valetkey.authorization_server.connected_apps import (
    ConnectedApp,
    app_revocation_statements,
    list_connected_apps,
)
from valetkey.authorization_server.personal_tokens.service import revocation_statements, token_state
from valetkey.runtime import Runtime
from valetkey.storage import accounts, personal_access_tokens, sessions
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.personal_access_tokens import PersonalToken


@dataclass(frozen=True, slots=True)
class AccessReview:
    """The apps and personal access tokens that have access to an account, for its owner to review.

    :param reset_at: when the password was reset (seconds since 1970), if the owner has not looked through the list
        since; else ``None``.
    :param other_sessions: the number of sign-ins besides the current one.
    """

    apps: tuple[ConnectedApp, ...]
    tokens: tuple[PersonalToken, ...]
    reset_at: float | None
    other_sessions: int

    def is_from_before_reset(self, began_at: float) -> bool:
        """Return whether access that began at this time is from before a reset that the owner has not reviewed."""
        return self.reset_at is not None and began_at <= self.reset_at

    @property
    def is_due(self) -> bool:
        """Whether the user must review the list: it has apps or personal tokens from before a reset."""
        began_at = (*(app.first_granted_at for app in self.apps), *(token.created_at for token in self.tokens))
        return any(map(self.is_from_before_reset, began_at))


def load_access_review(sub: str, session_digest: bytes, runtime: Runtime, now: float) -> AccessReview:
    """Return what can use an account now.

    :param session_digest: digest of the current session's cookie.
    """
    account = accounts.find(runtime.store, sub)
    active_sessions = sessions.list_active(runtime.store, sub, now)
    return AccessReview(
        tuple(list_connected_apps(sub, runtime, now)),
        _list_active_tokens(sub, runtime, now),
        account.unreviewed_since if account else None,
        sum(bytes(session.digest) != session_digest for session in active_sessions),
    )


def end_access(
    sub: str, client_ids: Set[str], token_ids: Set[str], address: str | None, runtime: Runtime, now: float
) -> None:
    """End the access of some apps and personal access tokens in one transaction, and mark the review as done.

    Every process rejects their tokens within a second. Ids that are not the owner's are ignored.

    :param address: the IP address of the request, for the audit log.
    """
    rows: list[BoundStatement] = [accounts.set_reviewed(sub)]
    for token in _list_active_tokens(sub, runtime, now):
        if token.token_id in token_ids:
            rows.append(personal_access_tokens.revoke(token.token_id, sub, now))
            rows += revocation_statements(token, now, address, "personal_token.revoked")
    for app in list_connected_apps(sub, runtime, now):
        if app.client_id in client_ids:
            rows += app_revocation_statements(sub, app.client_id, address, now)
    runtime.store.write_all(*rows)


def _list_active_tokens(sub: str, runtime: Runtime, now: float) -> tuple[PersonalToken, ...]:
    if runtime.settings.tokens_path is None:  # personal access tokens are not accepted
        return ()
    tokens = personal_access_tokens.list_by_owner(runtime.store, sub)
    return tuple(token for token in tokens if token_state(token, now) == "active")
