"""Sentences of pages that are chosen in Python: notices, and titles and sentences of error pages.

Each package with pages has a file ``texts.py``. All other text of pages is in the templates, and labels and errors of
form fields in ``forms.py``, so that translations need to cover these three places only.
"""

from __future__ import annotations

from collections.abc import Mapping

# Notices about what was just done, by the name that ``set_notice`` takes.
NOTICES: Mapping[str, str] = {
    "access-ended": "The ticked items can no longer use your account.",
    "access-unchanged": "Nothing was changed.",
    "account-created": "Your account was created.",
    "app-revoked": "The app can no longer use your account.",
    "provider-connected": "The provider is connected. You can now sign in with it.",
    "provider-disconnected": "The provider is disconnected. It signs in to your account only if you connect it again.",
    "token-revoked": "The token was revoked.",
    "password-set": "Your new password is set. You are signed in only here.",
    "signed-out": "You are signed out.",
    "signed-out-with-apps": (
        "You are signed out. Apps that you allowed keep their access; remove them on your account page."
    ),
    "signed-out-everywhere": "You are signed out everywhere.",
}

# Titles and sentences of error pages, by HTTP status.
ERROR_TITLES: Mapping[int, str] = {
    404: "Page not found",
    429: "Too many attempts",
    500: "Something went wrong",
    503: "The site is temporarily unavailable",
}
ERROR_SENTENCES: Mapping[int, str] = {
    404: "Check the address. The page may have moved.",
    500: "This is an error of the site. Its operator can find the details in the log with the reference below.",
}
REQUEST_REFUSED_TITLE = "This request cannot go on"  # docs/conformance.md: programs look for it
WRONG_HOST_TITLE = "This server is not configured for this address"

FORM_EXPIRED = "This form has expired."
SIGN_IN_CHANGED = "You have signed in or out since this form was opened, perhaps as another user."
CHECK_PAGE = "Check this page, and try again."
RELOAD_PAGE = "Go back, reload the page, and try again."
METHOD_NOT_ALLOWED = "This page does not support this request method."
FORM_TOO_LARGE = "The form is too large."
INVALID_CHARACTER = "The form contains an invalid character (NUL)."
NO_SIGN_IN_PAGE = "Sign in to the site first, then open this page again."
