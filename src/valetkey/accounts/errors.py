"""The exception of all functions that sign users in and up, or change their passwords."""

from __future__ import annotations


class SignInRefused(Exception):
    """A sign-in, a sign-up, a change of password or a request for a mail link is refused.

    :param message: the reason, as a sentence for the user.
    :param retry_after: seconds to wait after too many attempts; 0 if the request was refused for another reason.
    """

    def __init__(self, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
