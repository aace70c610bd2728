"""Sentences about accounts: error messages that pages show, and mail; see ``web/texts.py``.

In the texts of mail, names in braces are replaced.
"""

from __future__ import annotations

# Error messages
WRONG_EMAIL_OR_PASSWORD = "The e-mail address or the password is wrong."
WRONG_CURRENT_PASSWORD = "The current password is wrong."
ACCOUNT_DISABLED = "This account cannot be used."
ACCOUNT_DELETED = "This account no longer exists."
ACCOUNT_EXISTS = "There is already an account with this e-mail address."
ACCOUNT_CHANGED = (
    "Nothing was written: the account was changed or removed meanwhile. Look at it, and run the command again."
)
ACCOUNT_EXISTS_SIGN_IN = "There is already an account with this e-mail address. Sign in to it."
INVALID_EMAIL = "Enter an e-mail address, like ada@example.org."
NON_ASCII_EMAIL = (
    "Enter an e-mail address, like ada@example.org. Yours contains {character}, but only ASCII characters are allowed. "
    "An international domain is written in its form that begins with xn--."
)
TOO_MANY_ATTEMPTS = "Too many attempts."
LINK_EXPIRED = "The mailed link has expired or was already used."

PASSWORD_TOO_SHORT = "Choose a password of at least {length} characters."
PASSWORD_TOO_LONG = "Choose a password of at most {length} characters."
PASSWORD_TOO_UNIFORM = "Choose a password with more different characters."
PASSWORD_IS_NAME = "Choose a password that is not your name or e-mail address."
PASSWORD_COMMON = "Choose a password that is harder to guess: this one is very common."

# Mail with a link
SIGN_UP_SUBJECT = "Your account at {site}"
SIGN_UP_INSTRUCTION = "Open this link to choose a password and create your account:"
RESET_SUBJECT = "A new password for {site}"
RESET_INSTRUCTION = "Open this link to choose a new password for your account:"
VERIFY_SUBJECT = "Confirm your e-mail address for {site}"
VERIFY_INSTRUCTION = "Open this link to confirm that this address is yours:"
SIGN_UP_FOR_EXISTING_ACCOUNT = (
    "Somebody tried to create an account with this address, but you already have one. {instruction}"
)
LINK_MAIL = (
    "{instruction}\n\n{url}\n\n"
    "The link works once, within {minutes} minutes. "
    "If you did not request it, ignore this mail. Only someone who reads it can use the link.\n"
)

# Mail about the security of an account
PASSWORD_CHANGED_SUBJECT = "Your password was changed"
PASSWORD_CHANGED = (
    "The password of your account at {site} was changed, and all other sign-ins were ended.\n\n"
    "{origin}\n"
    "If this was you, review what else can use your account:\n{access_url}\n\n"
    "If this was not you, set a new password now:\n{reset_url}\n"
)
NEW_BROWSER_SUBJECT = "A sign-in from a new browser"
NEW_BROWSER = (
    "Somebody signed in to your account at {site} from a browser that was not used for it before.\n\n"
    "{origin}\n"
    "If this was you, you do not need to do anything.\n\n"
    "If this was not you, set a new password now:\n{reset_url}\n"
    "This ends all sign-ins, and shows which apps and tokens can use your account.\n"
)
PROVIDER_CONNECTED_SUBJECT = "{provider} was connected"
PROVIDER_CONNECTED = (
    "{provider} was connected with your account at {site}. It can now be used to sign in to your account.\n\n"
    "{origin}\n"
    "If this was you, you do not need to do anything.\n\n"
    "If this was not you, set a new password now:\n{reset_url}\n"
    "This ends all sign-ins, and disconnects {provider}.\n"
)
ORIGIN = "Time: {time}\nNetwork: {network}\nBrowser: {browser}\n"
ORIGIN_OPERATOR = "Time: {time}\nBy: the operator of the site\n"
UNKNOWN_BROWSER = "an unknown browser"
BROWSER_ON_SYSTEM = "{browser} on {system}"
