"""Failed sign-ins, failed client authentications and limits that were reached: counted in memory, written in batches.

Callers without an account cause these events, and choose their targets. So they are counted for each minute, and what
is stored is bounded: a hundred different combinations in each minute and process, everything else in one row.
"""

from __future__ import annotations

import logging
import threading
from typing import Literal, NamedTuple

from valetkey.protocol.errors import InvalidClient, TooManyRequests
from valetkey.storage import audit
from valetkey.storage.audit import AuditRow
from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

from .background import BackgroundThread

_MINUTE_S = 60
_MAX_KEYS_PER_MINUTE = 100  # without the rows for "other", of which there is one for each event and detail
_MAX_PENDING = 2_000  # counts in memory; while the store is unavailable, they stay there
_OTHER_NETWORKS = "other"
_log = logging.getLogger("valetkey")

FailureEvent = Literal["sign_in.failed", "password_change.failed", "client_authentication.failed", "limit.reached"]


class _FailureKey(NamedTuple):
    minute: int  # since 1970
    event: str
    client_id: str | None
    owner: str | None
    network: str
    detail: str | None


class FailureBuffer:
    """Buffer for the numbers of failures per minute, event, target and network.

    ``record`` counts in memory. The background thread writes the counts to the audit log once a second and when the
    process exits.
    """

    def __init__(self, store: Store, background: BackgroundThread) -> None:
        self._store = store
        self._background = background
        self._reset()
        call_after_fork(self._reset)
        background.add(self.flush)

    def _reset(self) -> None:
        self._pending: dict[_FailureKey, int] = {}
        self._minute = 0
        self._keys_of_minute: set[_FailureKey] = set()
        self._lock = threading.Lock()
        self._dropped_failures = 0

    def record_refusal(
        self, refusal: object, now: float, *, network: str, client_id: str | None = None, owner: str | None = None
    ) -> None:
        """Count a refused request if it reached a limit or failed to authenticate the client; else do nothing.

        :param refusal: the exception that ended the request. The other parameters are those of ``record``.
        """
        if isinstance(refusal, TooManyRequests):
            detail = refusal.limit or None
            self.record("limit.reached", now, network=network, client_id=client_id, owner=owner, detail=detail)
        elif isinstance(refusal, InvalidClient):
            self.record("client_authentication.failed", now, network=network, client_id=client_id, owner=owner)

    def record(
        self,
        event: FailureEvent,
        now: float,
        *,
        network: str,
        client_id: str | None = None,
        owner: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Count one failure.

        :param network: the caller's network, as rate limits count it.
        :param client_id: the client that it is about; ``None`` if there is no such client. Never what the caller typed,
            which may be a password in the wrong field.
        :param owner: the ``sub`` of the account that it is about; ``None`` if there is no such account.
        :param detail: name of the setting with the limit that was reached.
        """
        key = _FailureKey(int(now) // _MINUTE_S, event, client_id, owner, network, detail)
        with self._lock:
            self._add(self._limit_key(key), 1)
        self._background.ensure_running()

    def flush(self) -> None:
        """Write the counted failures to the audit log. If the store is unavailable, they stay in memory.

        Counts that may have been written nevertheless are dropped, so that no failure is counted twice.
        """
        with self._lock:
            pending, self._pending, dropped, self._dropped_failures = self._pending, {}, self._dropped_failures, 0
        if dropped:
            _log.warning(
                "audit: %d failures were not counted, because too many counts are waiting to be written. "
                "Check that the database is available and fast enough.",
                dropped,
            )
        if not pending:
            return
        keys = sorted(pending, key=repr)  # the same order in all processes, so that their row locks cannot deadlock
        try:
            self._store.write(Transaction(rows=tuple(audit.add_count(_make_row(key, pending[key])) for key in keys)))
        except StoreUnavailable as error:
            if error.may_be_written:
                _log.warning("audit: %d failures may not be counted: %s", sum(pending.values()), error)
                return
            with self._lock:
                for key, count in pending.items():
                    self._add(key, count)

    def _limit_key(self, key: _FailureKey) -> _FailureKey:
        """Return the key, or the key of all others if a hundred different ones were counted in this minute."""
        if key.minute != self._minute:
            self._minute, self._keys_of_minute = key.minute, set()
        if key not in self._keys_of_minute:
            if len(self._keys_of_minute) >= _MAX_KEYS_PER_MINUTE:
                return key._replace(client_id=None, owner=None, network=_OTHER_NETWORKS)
            self._keys_of_minute.add(key)
        return key

    def _add(self, key: _FailureKey, count: int) -> None:
        if key in self._pending or len(self._pending) < _MAX_PENDING:
            self._pending[key] = self._pending.get(key, 0) + count
        else:
            self._dropped_failures += count


def _make_row(key: _FailureKey, count: int) -> AuditRow:
    return AuditRow(
        at=float(key.minute * _MINUTE_S),
        event=key.event,
        client_id=key.client_id,
        owner=key.owner,
        address=key.network,
        detail=key.detail,
        count=count,
    )
