"""``LoginContext``: where a sign-in, or a change of a password, comes from."""

from __future__ import annotations

from dataclasses import dataclass

from valetkey.protocol.secret import Secret


@dataclass(frozen=True, slots=True)
class LoginContext:
    """The origin of a sign-in: the browser, its network address, and its session (``None`` if it has none).

    :param submission: random text in the form on the page. If the same browser submits the same form twice, both
        requests get the same session. ``None`` if each request starts a session.
    """

    browser: Secret  # of the cookie that identifies the browser
    address: str | None
    session: Secret | None = None  # of the session that this browser has already
    user_agent: str = ""  # the header of the request; text of the caller
    submission: str | None = None
