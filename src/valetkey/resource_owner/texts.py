"""Sentences of the pages for resource owners that are chosen in Python; see ``web/texts.py``."""

from __future__ import annotations

# Consent, also for a device
SIGNED_IN_NOW = "In this browser, you are signed in."
PERMISSIONS_CHANGED = "The permissions have changed since this page was opened. Check them and decide again."
TICK_OR_DENY = "Tick at least one item, or choose Deny."
CHOOSE_DECISION = "Choose Allow or Deny."
DEVICE_DENIED_TITLE = "You denied access"
DEVICE_DENIED = "{app} cannot use your account. You can close this page."
DEVICE_CONNECTED_TITLE = "Your device is connected"
DEVICE_CONNECTED = "{app} continues on the device. You can close this page."
ENTER_CURRENT_CODE = "Enter the code that your device shows now."
ENTER_CODE_LINK = "Enter the code"

# Access to the account
CHOOSE_ACCESS_DECISION = "Choose whether to end the access of the ticked items."
TICK_OR_KEEP = "Tick at least one item, or keep everything."

# Sign-out
REQUEST_TOO_LONG = "The app's request is too long."
STILL_SIGNED_IN_TITLE = "You are still signed in"
STILL_SIGNED_IN = "Nothing was changed."
SIGNED_OUT_TITLE = "You are signed out"
CONTINUE_AFTER_SIGN_OUT = "The app requested to continue at its own page."

# Mailed links
ADDRESS_CONFIRMED_TITLE = "Address confirmed"
ADDRESS_CONFIRMED = "{email} is confirmed as your address."
OTHER_ACCOUNT_TITLE = "You are signed in to another account"
OTHER_ACCOUNT = "Sign in to the account with the address {email} to confirm it."
USE_OTHER_ACCOUNT = "Use another account"
TOO_MANY_MAILS_TITLE = "Too many mails"
NO_MAIL_TITLE = "No mail was sent"
NO_ADDRESS = (
    "Your account has no e-mail address any more, because another user has verified it. Ask the operator of this site "
    "to add your address."
)
CHECK_MAIL_TITLE = "Check your mail"
CHECK_MAIL_SIGN_UP = "If {email} can be used for an account here, a mail with a link is on its way."
CHECK_MAIL_RESET = "If there is an account for {email}, a mail with a link is on its way."
CHECK_OWN_MAIL = "A mail with a link is on its way to {email}."
CHECK_MAIL_HINT = (
    "The link is valid for {minutes} minutes. Nothing after some minutes? Check the spam folder and the address, or "
    "try again later."
)
BACK_TO_SIGN_IN = "Back to sign-in"
NO_PASSWORD_TITLE = "Your account has no password"
NO_PASSWORD = "You sign in with a provider. Ask the operator of this site if you need a password."
LINK_EXPIRED_TITLE = "This link has expired or was already used"
NEW_RESET = "Request a new link to set your password."
NEW_LINK = "Request a new link"
NEW_CONFIRMATION = "Request a new link on your account page."
SIGNED_IN_ALREADY = "You are signed in to your account."
SIGN_IN_OR_UP = "If you have created your account with it, sign in. Otherwise create an account on the sign-in page."
SIGN_IN_FOR_CONFIRMATION = "Sign in, and request a new link on your account page."
SIGN_IN_FOR_LINK = "Sign in, or request a new link where you requested this one."
SIGN_IN_LINK = "Sign in"

# Sign-in with a provider
PROVIDER_NOT_CONNECTED_TITLE = "{provider} was not connected"
PROVIDER_REFUSED_TITLE = "{provider} did not sign you in"
LAST_PROVIDER_TITLE = "This would lock you out"
LAST_PROVIDER = (
    "{provider} is the only way to sign in to your account. Connect another provider or set a password first."
)
LAST_PROVIDER_NO_PASSWORDS = "{provider} is the only way to sign in to your account. Connect another provider first."
SET_PASSWORD = "Set a password"
BACK_TO_ACCOUNT = "Back to your account"

# Personal access tokens
TOKEN_EXISTS_TITLE = "This token was already created"
TOKENS_LINK = "Your tokens"
TOKEN_ALREADY_SHOWN = "Its value is shown only once. If you did not copy it, revoke the token and create another one."
FORM_INCOMPLETE = "The form is incomplete. Fill it in again."
ON_DATE_LABEL = "On a date"
DAYS_LABEL = "{days} days"
DAY_LABEL = "1 day"
DATE_MISSING = "Choose the date on which the token expires."
DATE_TOO_LATE = "Choose a date within {days} days."
DATE_PAST = "Choose a date in the future."
