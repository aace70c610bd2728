"""Lifetime of a personal access token: the choices in the form for a new token, and the expiry of each choice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from valetkey.protocol.errors import InvalidRequest
from valetkey.resource_owner import texts

ON_DATE = "date"
_OFFERED_DAYS = (7, 30, 90, 365)
_DEFAULT_DAYS = 30
_DAY_S = 86400


def choices(max_lifetime_s: int) -> list[tuple[str, str]]:
    """Return value and label of each lifetime that the form offers: numbers of days up to the maximum, and a date."""
    offered = [days for days in _OFFERED_DAYS if days * _DAY_S <= max_lifetime_s] or [max_lifetime_s // _DAY_S]
    labels = [texts.DAY_LABEL if days == 1 else texts.DAYS_LABEL.format(days=days) for days in offered]
    return [*zip(map(str, offered), labels, strict=True), (ON_DATE, texts.ON_DATE_LABEL)]


def default_choice(max_lifetime_s: int) -> str:
    """Return the lifetime that is preselected in a new form: ``30`` days, or the shortest if 30 are not allowed."""
    offered = [value for value, _ in choices(max_lifetime_s)]
    return str(_DEFAULT_DAYS) if str(_DEFAULT_DAYS) in offered else offered[0]


def parse_expires_in(expires_in: str, max_lifetime_s: int, now: float) -> tuple[str, date | None]:
    """Return the lifetime to preselect in the form for the ``expires_in`` parameter of a link that fills in the form.

    :param expires_in: a number of days. If it is invalid or too large, return the default choice.
    :returns: one of the values of ``choices``, and the date if it is ``ON_DATE``, else None.
    """
    if not expires_in.isdecimal() or len(expires_in) > 4 or not 0 < int(expires_in) * _DAY_S <= max_lifetime_s:
        return default_choice(max_lifetime_s), None
    days = str(int(expires_in))
    if days in dict(choices(max_lifetime_s)):
        return days, None
    return ON_DATE, utc_date(now + int(days) * _DAY_S)


def format_expires_in(choice: str, day: date | None, now: float) -> str:
    """Return the ``expires_in`` parameter, in days, of a link that fills in the form with this lifetime.

    Return an empty string if the choice is ``ON_DATE`` without a date.
    """
    if choice != ON_DATE:
        return choice
    return str((day - utc_date(now)).days) if day else ""


def utc_date(timestamp: float) -> date:
    """Return the date in UTC of a timestamp in seconds since 1970."""
    return datetime.fromtimestamp(timestamp, UTC).date()


def compute_expires_at(choice: str, day: date | None, max_lifetime_s: int, now: float) -> float:
    """Return when the token expires, in seconds since 1970.

    That is the chosen number of days from now or, if the choice is ``ON_DATE``, the end of ``day`` in UTC, but at most
    ``max_lifetime_s`` from now.

    :raises InvalidRequest: if the choice is ``ON_DATE``, and the date is missing, in the past or too late.
    """
    if choice != ON_DATE:
        return now + int(choice) * _DAY_S
    if day is None:
        raise InvalidRequest(texts.DATE_MISSING)
    if day > utc_date(now + max_lifetime_s):
        raise InvalidRequest(texts.DATE_TOO_LATE.format(days=max_lifetime_s // _DAY_S))
    if day < utc_date(now):
        raise InvalidRequest(texts.DATE_PAST)
    midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp()
    return min(midnight, now + max_lifetime_s)
