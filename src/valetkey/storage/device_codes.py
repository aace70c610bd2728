"""Device codes (RFC 8628): the device polls the token endpoint while the resource owner decides in a browser."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Integer, bindparam, delete, exists, literal, or_, select, update

from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import device_codes, grants


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A device code with its user code (RFC 8628 §3.2) and the owner's decision. Times are seconds since 1970.

    :param resources: JSON list of the requested resources (RFC 8707).
    :param digest: digest of the device code.
    :param scope: requested scope names, separated by spaces.
    :param polled_at: when the device last polled the token endpoint; ``None`` if it has not yet.
    :param interval: seconds that the device must wait between two polls.
    :param decided_at: when the owner approved or denied; ``None`` while the decision is pending.
    :param grant_id: the grant, if the owner approved; ``None`` after ``decided_at`` is set means denied.
    :param consumed_at: when the device received its tokens; ``None`` before that.
    """

    digest: bytes
    user_code: str  # eight letters, without the hyphen
    client_id: str
    scope: str
    resources: str
    interval: float
    expires_at: float
    polled_at: float | None = None
    decided_at: float | None = None
    grant_id: str | None = None
    consumed_at: float | None = None

    @property
    def resource_list(self) -> tuple[str, ...]:
        return tuple(json.loads(self.resources))


_COLUMNS = columns_of(device_codes, DeviceCode)
_ADD = InsertStatement(device_codes, DeviceCode, ignores_duplicates=True)
_FIND = Statement(select(*_COLUMNS).where(device_codes.c.digest == bindparam("digest")))
_FIND_BY_USER_CODE = Statement(select(*_COLUMNS).where(device_codes.c.user_code == bindparam("user_code")))
_RECORD_POLL = Statement(
    update(device_codes)
    .where(
        device_codes.c.digest == bindparam("wanted"),
        or_(
            device_codes.c.polled_at.is_(None),
            device_codes.c.polled_at + device_codes.c.interval <= bindparam("now") + bindparam("leeway"),
        ),
    )
    .values(polled_at=bindparam("now"))
)
_SLOW_DOWN = Statement(
    update(device_codes)
    .where(device_codes.c.digest == bindparam("wanted"))
    .values(interval=device_codes.c.interval + bindparam("more"), polled_at=bindparam("now"))
)
_DECIDE = Statement(
    update(device_codes)
    .where(
        device_codes.c.digest == bindparam("wanted"),
        device_codes.c.decided_at.is_(None),
        device_codes.c.expires_at > bindparam("now"),
    )
    .values(decided_at=bindparam("now"), grant_id=bindparam("given"))
)
_CONSUME = Statement(
    update(device_codes)
    .where(
        device_codes.c.digest == bindparam("wanted"),
        device_codes.c.consumed_at.is_(None),
        exists(
            select(literal(1, Integer)).where(
                grants.c.grant_id == device_codes.c.grant_id, grants.c.revoked_at.is_(None)
            )
        ),
    )
    .values(consumed_at=bindparam("now"))
)
_REMOVE_ALL_OF_CLIENT = Statement(delete(device_codes).where(device_codes.c.client_id == bindparam("of_client")))


def add(code: DeviceCode) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a device code.

    It adds none if the user code is already in use.
    """
    return _ADD(code)


def find(store: Store, digest: bytes) -> DeviceCode | None:
    row = store.fetch_one(_FIND(digest=digest))
    return DeviceCode(*row) if row else None


def find_by_user_code(store: Store, user_code: str) -> DeviceCode | None:
    row = store.fetch_one(_FIND_BY_USER_CODE(user_code=user_code))
    return DeviceCode(*row) if row else None


def record_poll(digest: bytes, now: float, leeway_s: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that records a device's poll.

    It changes nothing if the device polls before the interval since its last poll has passed.

    :param digest: digest of the device code.
    :param leeway_s: seconds by which a poll may come too early.
    """
    return _RECORD_POLL(wanted=digest, now=now, leeway=leeway_s)


def slow_down(digest: bytes, extra_interval_s: float, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that records a poll and lengthens the polling interval.

    It is for a device that polls too often (RFC 8628 §3.5, ``slow_down``).

    :param extra_interval_s: seconds to add to the interval.
    """
    return _SLOW_DOWN(wanted=digest, more=extra_interval_s, now=now)


def decide(digest: bytes, grant_id: str | None, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that approves or denies a device code.

    It changes nothing if the owner has approved or denied the code already, or if the code has expired.

    :param grant_id: id of the new grant if the owner approved, ``None`` if the owner denied.
    """
    return _DECIDE(wanted=digest, given=grant_id, now=now)


def consume(digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that marks a device code as used.

    It succeeds only once, and only while the code's grant is not revoked.
    """
    return _CONSUME(wanted=digest, now=now)


def remove_all_of_client(client_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes the device codes of a client."""
    return _REMOVE_ALL_OF_CLIENT(of_client=client_id)
