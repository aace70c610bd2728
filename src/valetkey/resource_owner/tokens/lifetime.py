"""How long a personal access token lives: the choices that the form offers, and what a choice means."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from valetkey.protocol.errors import InvalidRequest

ON_DATE = "date"
_DAYS = (7, 30, 90, 365)
_USUAL = 30
_DAY = 86400


def choices(most: int) -> list[tuple[str, str]]:
    """The values and words of the select; ``most`` in seconds."""
    offered = [days for days in _DAYS if days * _DAY <= most] or [most // _DAY]
    return [*((str(days), f"{days} day{'' if days == 1 else 's'}") for days in offered), (ON_DATE, "On a date")]


def usual(most: int) -> str:
    """What is chosen where nobody chose."""
    offered = [value for value, _ in choices(most)]
    return str(_USUAL) if str(_USUAL) in offered else offered[0]


def read_link(expires_in: str, most: int, now: float) -> tuple[str, date | None]:
    """What a link's ``expires_in``, in days, fills in: a choice, or a date where no choice is so long."""
    if not expires_in.isdecimal() or len(expires_in) > 4 or not 0 < int(expires_in) * _DAY <= most:
        return usual(most), None
    days = str(int(expires_in))
    if days in dict(choices(most)):
        return days, None
    return ON_DATE, last_day(now + int(days) * _DAY)


def days_of(choice: str, day: date | None, now: float) -> str:
    """What a link has to say for the form to be filled in with this choice again."""
    if choice != ON_DATE:
        return choice
    return str((day - last_day(now)).days) if day else ""


def last_day(moment: float) -> date:
    """The day, in UTC, in which a moment falls."""
    return datetime.fromtimestamp(moment, UTC).date()


def end_of(choice: str, day: date | None, most: int, now: float) -> float:
    """When the token ends: so many days from now, or with the day that was chosen, in UTC.

    :raises InvalidRequest: where no date was given with "On a date", or it is over or too late.
    """
    if choice != ON_DATE:
        return now + int(choice) * _DAY
    if day is None:
        raise InvalidRequest("Choose the date on which the token expires.")
    if day > last_day(now + most):
        raise InvalidRequest(f"Choose a date within {most // _DAY} days.")
    if day < last_day(now):
        raise InvalidRequest("Choose a date in the future.")
    midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp()
    return min(midnight, now + most)
